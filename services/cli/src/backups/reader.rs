//! Opens a destination for reading, with what this device knows of its own writers.

use std::path::Path;

use bkv_backups::format::{Id, Tag};
use bkv_backups::{Access, Expected, Library};
use bkv_client::BackupKey;

use super::{AccountVault, Forms, Place, Writers};
use crate::args::MaybeOnline;
use crate::commands::connection::ASK;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;

/// A destination, the key, and what is known of the writers.
pub(crate) struct Reader {
    pub place: Place,
    key: BackupKey,
    tag: Tag,
    expected: Vec<Expected>,
    own: Vec<Id>,
}

/// What this device and the vault know. The device may have a ledger that the vault does not know yet, and the vault one that the device's twin wrote.
fn merged(device: Vec<Expected>, vault: Vec<Expected>) -> Vec<Expected> {
    let mut all = device;
    for known in vault {
        let Some(own) = all.iter_mut().find(|own| own.writer == known.writer) else {
            all.push(known);
            continue;
        };
        let counter = |expected: &Expected| expected.named.map(|named| named.counter);
        // Each ledger goes with the V that it is sealed under. The vault's may be another one while a new V is under way.
        if counter(&known) > counter(own) {
            own.named = known.named;
            own.v = known.v.or(own.v.take());
        }
    }
    all
}

impl Reader {
    /// Opens it with the key of this device. The vault is asked which ledgers are the newest, if the options name it.
    pub(crate) async fn open(out: Output, online: &MaybeOnline, from: &Path) -> Outcome<Self> {
        let device = DeviceState::open(&online.device)?;
        let kept = device.require()?;
        let mut online = online.clone();
        online.timeout = online.timeout.min(ASK.as_secs());
        let vault = AccountVault::open(&online, &device, &kept).await?;
        let named = vault.expected().await;
        if named.is_none() && kept.mode == Mode::Password {
            out.note("The vault was not asked, or did not answer: only what this device has seen is known.");
        }
        Self::with(out, &device, &kept, from, named.unwrap_or_default())
    }

    /// The same, with what the vault knows of the writers.
    pub(crate) fn with(
        out: Output,
        device: &DeviceState,
        kept: &Kept,
        from: &Path,
        named: Vec<Expected>,
    ) -> Outcome<Self> {
        let tag = super::tag(kept)?;
        let place = Place::open(from, Exit::NoInput)?;
        let forms = Forms::at(&place.path)?;
        match forms.beside(from) {
            Some(beside) if forms.has(&tag) => out.warning(&beside),
            Some(beside) if forms.accounts.is_empty() => {
                let what = format!("{} has no series of backups", from.display());
                return Err(Failure::new(Exit::NoInput, what).remedy(beside));
            }
            _ => {}
        }
        let states = Writers::of(device, kept, tag)?.here(&place)?;
        let own: Vec<Id> = states.iter().map(|state| state.writer).collect();
        let states = states
            .into_iter()
            .map(|state| Expected { writer: state.writer, named: state.newest(), v: state.v })
            .collect();
        // The vault also knows the writers of other destinations.
        let here = |writer: &Id| place.path.join(tag.folder()).join(hex::encode(writer)).is_dir();
        let named =
            named.into_iter().filter(|known| own.contains(&known.writer) || here(&known.writer)).collect();
        Ok(Self { place, key: kept.key()?, tag, expected: merged(states, named), own })
    }

    pub(crate) fn access(&self) -> Access<'_> {
        Access { destination: &self.place.folder, key: &self.key, tag: self.tag }
    }

    /// True for a writer of this device.
    pub(crate) fn is_own(&self, writer: &Id) -> bool {
        self.own.contains(writer)
    }

    /// All backups of the account here.
    pub(crate) fn library(&self, accept_older: bool) -> Outcome<Library> {
        Ok(bkv_backups::open(self.access(), &self.expected, accept_older)?)
    }
}
