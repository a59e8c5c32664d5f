//! Opens a destination for reading, with what this device knows of its own writers.

use std::path::Path;

use bkv_backups::format::{Id, Tag};
use bkv_backups::{Access, Expected, Library};
use bkv_client::BackupKey;

use super::{Forms, Place, Writers};
use crate::args::MaybeOnline;
use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;

/// A destination, the key, and what is known of the writers.
pub(crate) struct Reader {
    pub place: Place,
    key: BackupKey,
    tag: Tag,
    expected: Vec<Expected>,
}

impl Reader {
    /// Opens it with the key of this device.
    pub(crate) fn open(out: Output, online: &MaybeOnline, from: &Path) -> Outcome<Self> {
        let device = DeviceState::open(&online.device)?;
        let kept = device.require()?;
        let tag = super::tag(&kept)?;
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
        let states = Writers::of(&device, &kept, tag)?.here(&place)?;
        let expected = states
            .into_iter()
            .map(|state| Expected { writer: state.writer, named: state.newest(), v: state.v })
            .collect();
        Ok(Self { place, key: kept.key()?, tag, expected })
    }

    pub(crate) fn access(&self) -> Access<'_> {
        Access { destination: &self.place.folder, key: &self.key, tag: self.tag }
    }

    /// True for a writer of this device.
    pub(crate) fn is_own(&self, writer: &Id) -> bool {
        self.expected.iter().any(|expected| expected.writer == *writer)
    }

    /// All backups of the account here.
    pub(crate) fn library(&self, accept_older: bool) -> Outcome<Library> {
        Ok(bkv_backups::open(self.access(), &self.expected, accept_older)?)
    }
}
