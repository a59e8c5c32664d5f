//! The signatures of leaders that this replica has checked, and the proof that two of them contradict each other.

use std::collections::VecDeque;

use bkv_core::id::Hash;
use bkv_wire::equivocation::{MOST_BETWEEN, Signed};
use bkv_wire::proto::peer as p;
use parking_lot::Mutex;
use prost::Message as _;

use super::log::Log;
use super::transfer::blocking;
use super::types::{Entry, LogId, chain, content};
use crate::store::{Change, Place, Store, StoreError, Table};

/// Signatures that are kept. Regions compare them every second, and one far apart still does: a proof reaches over `MOST_BETWEEN` entries.
const KEPT: usize = 512;

/// What another region's signature is to this replica.
#[derive(Debug, PartialEq)]
pub(crate) enum Compared {
    /// The same history, or nothing here to compare it with.
    Nothing,
    /// Together with one that is kept here it is a proof, which is not checked yet.
    Contradicts(Box<p::Equivocation>),
    /// The sender's reaches further than all that this replica has under that vote. The sender can compare this one, the newest.
    Shorter(p::Appended),
}

/// One shard's signatures. The newest one is on the disk: a restart between the two halves of a lie must not lose the proof.
pub(crate) struct Evidence {
    shard: u16,
    kept: Mutex<Kept>,
    /// Held while entries are read for a proof, so that few threads wait for the disk.
    reading: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    /// Oldest first.
    all: VecDeque<p::Appended>,
    /// The newest one is not on the disk yet.
    unwritten: bool,
}

fn place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"appended")
}

impl Evidence {
    pub(super) fn open(shard: u16, store: &Store) -> Result<Self, StoreError> {
        let malformed = |e: prost::DecodeError| StoreError::Malformed("appended".into(), e.to_string());
        let row = store.get(&place(shard))?;
        let newest = row.map(|row| p::Appended::decode(row.as_slice()).map_err(malformed)).transpose()?;
        let kept = Kept { all: newest.into_iter().collect(), unwritten: false };
        Ok(Self { shard, kept: Mutex::new(kept), reading: Mutex::default() })
    }

    /// Keeps a signature that has been checked.
    pub(crate) fn keep(&self, appended: &p::Appended) {
        let mut kept = self.kept.lock();
        if kept.all.back() == Some(appended) {
            return;
        }
        if kept.all.len() >= KEPT {
            kept.all.pop_front();
        }
        kept.all.push_back(appended.clone());
        kept.unwritten = true;
    }

    /// The row of the newest signature, if it is not on the disk. It goes there with the entries: a group commit of its own would make each append wait twice.
    pub(super) fn unwritten(&self) -> Option<Change> {
        let mut kept = self.kept.lock();
        let newest = kept.all.back().map(prost::Message::encode_to_vec);
        let newest = newest.filter(|_| std::mem::take(&mut kept.unwritten));
        drop(kept);
        newest.map(|row| Change::put(place(self.shard), row))
    }

    pub(crate) fn newest(&self) -> Option<p::Appended> {
        self.kept.lock().all.back().cloned()
    }

    /// Those under one vote.
    fn under(&self, vote: Option<p::Vote>) -> Vec<p::Appended> {
        self.kept.lock().all.iter().filter(|a| a.vote == vote).cloned().collect()
    }

    /// Compares another region's signature with those that are kept here. `holds` checks that it is one: without that a rooted region could have thousands of entries read
    /// for each of its messages.
    pub(crate) fn compare(&self, log: &Log, theirs: &p::Appended, holds: impl FnOnce() -> bool) -> Compared {
        let Ok(signed) = Signed::read(theirs) else { return Compared::Nothing };
        // The usual case costs no more than a look at the log.
        if log.chain_at_index(signed.index) == Some(signed.chain) {
            return Compared::Nothing;
        }
        let kept = self.under(theirs.vote);
        let Some(upper) = kept.iter().filter(|a| a.index >= signed.index).min_by_key(|a| a.index) else {
            let newest = kept.into_iter().max_by_key(|a| a.index);
            return newest.map_or(Compared::Nothing, Compared::Shorter);
        };
        if !holds() {
            return Compared::Nothing;
        }
        let proof = if upper.index == signed.index {
            self.proof(theirs, upper, Hash::try_from(&upper.chain[..]).ok(), &[])
        } else {
            // A later leader may have replaced the entries that were signed.
            let is_here = log.chain_at_index(upper.index).is_some_and(|ours| ours.0 == upper.chain[..]);
            let read = || {
                let _turn = self.reading.lock();
                log.contents(signed.index, upper.index, MOST_BETWEEN)
            };
            let contents = is_here.then(|| blocking(read)).flatten();
            contents
                .and_then(|contents| self.proof(theirs, upper, log.chain_at_index(signed.index), &contents))
        };
        proof.map_or(Compared::Nothing, |proof| Compared::Contradicts(Box::new(proof)))
    }

    /// Compares an append that does not fit this replica's log with what its leader has signed before. `appended` is its signature, `behind` the chain hash at `previous`.
    pub(crate) fn compare_refused(
        &self,
        log: &Log,
        appended: &p::Appended,
        previous: Option<&LogId>,
        behind: Hash,
        entries: &[Entry],
    ) -> Option<p::Equivocation> {
        let mut at: Vec<_> = previous.map(|id| (id.index, behind)).into_iter().collect();
        for entry in entries {
            let before = at.last().map_or(behind, |(_, chain)| *chain);
            at.push((entry.log_id.index, chain(&before, entry)));
        }
        for kept in self.under(appended.vote) {
            let Some((_, other)) = at.iter().find(|(index, _)| *index == kept.index) else { continue };
            if kept.chain[..] != other.0 {
                let above = entries.iter().filter(|e| e.log_id.index > kept.index);
                return self.proof(&kept, appended, Some(*other), &above.map(content).collect::<Vec<_>>());
            }
        }
        match self.compare(log, appended, || true) {
            Compared::Contradicts(proof) => Some(*proof),
            Compared::Nothing | Compared::Shorter(_) => None,
        }
    }

    /// Puts a proof together. `chain` is the chain hash of the upper one's history at the lower one's index, and `contents` are of its entries behind that.
    fn proof(
        &self,
        lower: &p::Appended,
        upper: &p::Appended,
        chain: Option<Hash>,
        contents: &[Hash],
    ) -> Option<p::Equivocation> {
        let chain = chain?.0;
        (chain[..] != lower.chain[..]).then(|| p::Equivocation {
            shard: u32::from(self.shard),
            lower: Some(lower.clone()),
            upper: Some(upper.clone()),
            chain: chain.to_vec().into(),
            contents: contents.iter().flat_map(|c| c.0).collect::<Vec<_>>().into(),
        })
    }
}
