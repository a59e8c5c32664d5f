//! The second half of `bkv verify --repair`: writes into the ledger of this device which data is damaged, so that the next backup stores it again.

use bkv_backups::format::Id;
use bkv_backups::verify::{Verdict, mark_damaged};
use bkv_backups::{Naming, Outside, StateFile, SystemClock, Writer};

use crate::args::MaybeOnline;
use crate::backups::{AccountVault, Reader, Writers, tag};
use crate::device::DeviceState;
use crate::exit::Outcome;

/// What a repair needs beside what a reader has.
pub(super) struct Repair {
    vault: AccountVault,
    writers: Writers,
    wait_lock: bool,
}

/// What was marked.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// Blobs and packs of this device that its ledger lists as damaged.
    pub blobs: usize,
    /// Damaged blobs and packs of writers whose ledgers this device can't write for this destination.
    pub others: usize,
    /// Whether the vault knows the ledger that was written. None if none was.
    pub naming: Option<Naming>,
}

impl Repair {
    pub(super) async fn open(online: &MaybeOnline, wait_lock: bool) -> Outcome<Self> {
        let device = DeviceState::open_for_writing(&online.device)?;
        let kept = device.require()?;
        let vault = AccountVault::open(online, &device, &kept).await?;
        Ok(Self { vault, writers: Writers::of(&device, &kept, tag(&kept)?)?, wait_lock })
    }

    /// Marks what `verdict` found. A ledger with a broken copy is written anew.
    pub(super) fn mark(&self, reader: &Reader, verdict: &Verdict) -> Outcome<Marked> {
        let ledger_of = |writer: &Id| {
            verdict.findings.iter().any(|found| found.writer == *writer && found.generations.is_empty())
        };
        let access = reader.access();
        let mut marked = Marked::default();
        if verdict.findings.is_empty() {
            return Ok(marked);
        }
        let own = self.lock(reader)?;
        for (writer, blobs) in &verdict.damaged {
            if own.as_ref().is_none_or(|(own, _)| own != writer) {
                marked.others += blobs.len();
            }
        }
        let Some((id, file)) = own else { return Ok(marked) };
        let blobs = verdict.damaged.get(&id).cloned().unwrap_or_default();
        marked.blobs = blobs.len();
        if blobs.is_empty() && !ledger_of(&id) {
            return Ok(marked);
        }
        let outside = Outside {
            destination: access.destination,
            vault: &self.vault,
            clock: &SystemClock,
            key: access.key,
            tag: access.tag,
        };
        let mut writer = Writer::open(outside, file, true)?;
        let known = writer.ledger().damaged.iter().map(|id| **id).collect();
        if ledger_of(&id) || !blobs.is_subset(&known) {
            marked.naming = Some(mark_damaged(&mut writer, &blobs)?);
        }
        Ok(marked)
    }

    /// The writer of this device at the destination, locked.
    fn lock(&self, reader: &Reader) -> Outcome<Option<(Id, StateFile)>> {
        let Some(path) = self.writers.known(&reader.place) else { return Ok(None) };
        let file = StateFile::lock(&path, self.wait_lock)?;
        let state = file.load()?;
        Ok(state.map(|state| (state.writer, file)))
    }
}
