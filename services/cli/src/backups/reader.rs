//! Opens a destination for reading, with what this device knows of its own writers.

use std::path::Path;

use bkv_backups::format::{Id, Tag};
use bkv_backups::{Access, Error, Expected, Library};
use bkv_client::BackupKey;
use serde_json::Value;

use super::{AccountVault, Forms, Place, Remote, Single, Writers, shown_place, single_file, writer};
use crate::args::MaybeOnline;
use crate::commands::connection::ASK;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::words::count;

/// A destination, the key, and what is known of the writers.
pub(crate) struct Reader {
    out: Output,
    pub place: Place,
    key: BackupKey,
    tag: Tag,
    expected: Vec<Expected>,
    own: Vec<Id>,
    /// Writers of this device, also those of other destinations.
    of_device: Vec<Id>,
    /// Writers that the vault names and that have nothing here.
    not_here: Vec<Id>,
    /// Why it is not known what the vault has.
    unanswered: Option<String>,
    /// The key is under a password, and the vault has named every writer of it.
    all_named: bool,
    /// The backup in one file that is read, and not the place.
    single: Option<Single>,
}

/// The folder's name follows from the digits, so mistyped ones lead to no folder.
fn other_key(from: &Path, others: usize) -> Failure {
    let what =
        format!("{} has no series of this key, and {others} of other accounts or keys", from.display());
    Failure::new(Exit::WrongKey, what).remedy(
        "Check the 64 digits and the folder. The digits of a key that is under a password do not open its series: `bkv recover` gets that key with the password. Nothing was written.",
    )
}

/// Writers that the vault names and that have nothing here, as a fact for programs, with a warning for people.
pub(crate) fn report_not_here(out: Output, not_here: &[Id]) -> Value {
    if !not_here.is_empty() {
        let ids: Vec<String> = not_here.iter().map(writer).collect();
        out.warning(&format!(
            "The vault also names {} with no backups here: {}. They back up to another destination, or their folders were removed from this one.",
            count(ids.len() as u64, "writer"),
            ids.join(", ")
        ));
    }
    not_here.iter().map(hex::encode).collect::<Vec<_>>().into()
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
        own.before = known.before;
    }
    all
}

impl Reader {
    /// Opens it with the key of this device. The vault is asked which ledgers are the newest, if the options name it.
    pub(crate) async fn open(out: Output, online: &MaybeOnline, from: &Path) -> Outcome<Self> {
        Self::with(out, online, from, None).await
    }

    /// The same. `known` is what the vault has just told of the writers. Without it the vault is asked.
    pub(crate) async fn with(
        out: Output,
        online: &MaybeOnline,
        from: &Path,
        known: Option<Vec<Expected>>,
    ) -> Outcome<Self> {
        let device = DeviceState::open(&online.device)?;
        let kept = device.require()?;
        if let Some(file) = single_file(from)? {
            return Self::of_file(out, &kept, file, from);
        }
        if std::fs::metadata(from).is_ok_and(|meta| meta.is_file()) {
            let what = format!("{} is no backup that this command can look into", from.display());
            return Err(Failure::new(Exit::NoInput, what).remedy(
                "A file that an earlier version of `bkv` made has no list of its files. `bkv restore` restores it.",
            ));
        }
        let mut reader = Self::of_device(out, &device, &kept, from, &online.remote)?;
        if let Some(known) = known {
            reader.learn(known)?;
            reader.all_named = kept.mode == Mode::Password;
            return Ok(reader);
        }
        let mut online = online.clone();
        if !reader.needs_v()? {
            online.timeout = online.timeout.min(ASK.as_secs());
        }
        match AccountVault::open(&online, &device, &kept).await?.expected().await {
            Ok(known) => {
                reader.learn(known)?;
                reader.all_named = kept.mode == Mode::Password;
            }
            Err(why) => {
                debug_assert!(kept.mode == Mode::Password);
                out.note(&format!(
                    "It is not known what the vault has ({why}): only what this device has seen is known."
                ));
                reader.unanswered = Some(why);
            }
        }
        Ok(reader)
    }

    /// Reads a backup in one file. No vault knows of it.
    pub(crate) fn of_file(out: Output, kept: &Kept, file: std::fs::File, from: &Path) -> Outcome<Self> {
        let key = kept.key()?;
        let single = Single::open(file, shown_place(from), &key)?;
        Ok(Self {
            out,
            place: Place::of_file(from),
            key,
            tag: super::tag(kept)?,
            expected: Vec::new(),
            own: Vec::new(),
            of_device: Vec::new(),
            not_here: Vec::new(),
            unanswered: None,
            all_named: false,
            single: Some(single),
        })
    }

    /// Writers that the vault names, and that have nothing in the folder that the file was chosen from.
    pub(crate) fn beside(self, not_here: Vec<Id>) -> Self {
        Self { not_here, ..self }
    }

    /// Fails for a backup in one file.
    pub(crate) fn must_be_a_destination(&self, what: &str) -> Outcome {
        if self.single.is_none() {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Usage,
            format!("{what} is for the backups of a folder, and not for a single file"),
        )
        .remedy("Name the folder that the backups lie in."))
    }

    fn of_device(
        out: Output,
        device: &DeviceState,
        kept: &Kept,
        from: &Path,
        remote: &Remote,
    ) -> Outcome<Self> {
        let tag = super::tag(kept)?;
        let place = Place::open(from, remote, Exit::NoInput)?;
        let forms = Forms::of(&place)?;
        match forms.beside(from) {
            Some(beside) if forms.has(&tag) => out.warning(&beside),
            Some(beside) if forms.accounts.is_empty() => {
                let what = format!("{} has no series of backups", from.display());
                return Err(Failure::new(Exit::NoInput, what).remedy(beside));
            }
            _ => {}
        }
        let writers = Writers::of(device, kept, tag)?;
        let states = writers.here(&place)?;
        if kept.mode == Mode::Digits && states.is_empty() && !forms.has(&tag) && !forms.accounts.is_empty() {
            return Err(other_key(from, forms.accounts.len()));
        }
        let own: Vec<Id> = states.iter().map(|state| state.writer).collect();
        let expected = states
            .into_iter()
            .map(|state| Expected { writer: state.writer, named: state.newest(), v: state.v, before: None })
            .collect();
        let of_device = writers.ids()?;
        Ok(Self {
            out,
            place,
            key: kept.key()?,
            tag,
            expected,
            own,
            of_device,
            not_here: Vec::new(),
            unanswered: None,
            all_named: false,
            single: None,
        })
    }

    /// The vault also knows the writers of other destinations.
    fn learn(&mut self, known: Vec<Expected>) -> Outcome {
        let there = self.place.writers(&self.tag)?;
        let is_here =
            |known: &Expected| self.own.contains(&known.writer) || there.contains(&hex::encode(known.writer));
        let (here, elsewhere): (Vec<Expected>, Vec<Expected>) = known.into_iter().partition(is_here);
        let ids = elsewhere.into_iter().map(|known| known.writer);
        self.not_here = ids.filter(|id| !self.of_device.contains(id)).collect();
        self.expected = merged(std::mem::take(&mut self.expected), here);
        Ok(())
    }

    /// True if a writer is here that this device has no state of.
    fn needs_v(&self) -> Outcome<bool> {
        let own: Vec<String> = self.own.iter().map(hex::encode).collect();
        Ok(self.place.writers(&self.tag)?.iter().any(|writer| !own.contains(writer)))
    }

    /// The writers that the vault names and that have nothing here, as a fact for programs. People are warned of them: who can write to the destination can have removed a folder.
    pub(crate) fn not_here(&self, out: Output) -> Value {
        report_not_here(out, &self.not_here)
    }

    pub(crate) fn access(&self) -> Access<'_> {
        let place = self.place.destination();
        let destination = self.single.as_ref().map_or(place, |single| &single.objects);
        Access { destination, key: &self.key, tag: self.tag }
    }

    /// True for a writer of this device.
    pub(crate) fn is_own(&self, writer: &Id) -> bool {
        self.own.contains(writer)
    }

    /// After `bkv delete` and `bkv register` the backups of the earlier key stay beside those of the present one. Only the vault's word shows that such a writer is not one of this key
    /// whose ledger was exchanged.
    fn pass_over_other_keys(&self, library: &mut Library) {
        if !self.all_named {
            return;
        }
        let known = |id: &Id| self.expected.iter().any(|expected| expected.writer == *id);
        let is_other = |(id, error): &(Id, Error)| matches!(error, Error::WrongKey { .. }) && !known(id);
        let unreadable = std::mem::take(&mut library.unreadable);
        let (others, unreadable): (Vec<_>, Vec<_>) = unreadable.into_iter().partition(is_other);
        library.unreadable = unreadable;
        if others.is_empty() {
            return;
        }
        let ids: Vec<String> = others.iter().map(|(id, _)| writer(id)).collect();
        self.out.note(&format!(
            "Passed over: {} of another key of this account: {}. A state folder with that key reads it: --state, such as the folder `earlier-1` that `bkv register` made.",
            count(ids.len() as u64, "writer"),
            ids.join(", ")
        ));
    }

    /// All backups of the account here.
    pub(crate) fn library(&self, accept_older: bool) -> Outcome<Library> {
        if let Some(single) = &self.single {
            return single.library(&self.key);
        }
        let mut library = bkv_backups::open(self.access(), &self.expected, accept_older)?;
        self.pass_over_other_keys(&mut library);
        let Some(why) = &self.unanswered else { return Ok(library) };
        for (writer, error) in &mut library.unreadable {
            // The destination may be in order: V is at the vault.
            if matches!(error, Error::WrongV { .. }) && !self.own.contains(writer) {
                *error = Error::NoV(why.clone());
            }
        }
        Ok(library)
    }
}
