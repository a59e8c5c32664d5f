//! The log of one shard: entries with the chain hash behind each.

use std::rc::Rc;

use bkv_core::batch::Batch;
use bkv_core::encoding::cbor;
use bkv_core::hash::tagged;
use bkv_core::id::{Hash, NodeId};
use bkv_core::join::LogPosition;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) term: u64,
    pub(super) leader: NodeId,
    pub(super) index: u64,
    pub(super) batch: Batch,
    digest: Hash,
}

impl Entry {
    pub(super) fn new(term: u64, leader: NodeId, index: u64, batch: Batch) -> Rc<Self> {
        let place = [term, leader.0, index].map(u64::to_be_bytes).concat();
        let digest = tagged("model/entry", &[&place, &cbor(&batch)]);
        Rc::new(Self { term, leader, index, batch, digest })
    }
}

/// A place of a history: position, leader, chain hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) at: LogPosition,
    pub(super) leader: NodeId,
    pub(super) chain: Hash,
}

impl Place {
    pub(super) const START: Self =
        Self { at: LogPosition { term: 0, index: 0 }, leader: NodeId(0), chain: Hash([0; 32]) };

    pub(super) fn then(&self, entry: &Entry) -> Self {
        Self {
            at: LogPosition { term: entry.term, index: entry.index },
            leader: entry.leader,
            chain: tagged("model/chain", &[&self.chain.0, &entry.digest.0]),
        }
    }
}

/// The entries behind `base`, which has left the log.
#[derive(Clone, Debug)]
pub(super) struct Log {
    base: Place,
    links: Vec<(Rc<Entry>, Place)>,
}

impl Log {
    pub(super) const fn new() -> Self {
        Self { base: Place::START, links: Vec::new() }
    }

    pub(super) fn last(&self) -> Place {
        self.links.last().map_or(self.base, |l| l.1)
    }

    pub(super) const fn base(&self) -> u64 {
        self.base.at.index
    }

    fn link(&self, index: u64) -> Option<&(Rc<Entry>, Place)> {
        let i = index.checked_sub(self.base.at.index + 1)?;
        self.links.get(usize::try_from(i).ok()?)
    }

    pub(super) fn place(&self, index: u64) -> Option<Place> {
        if index == self.base.at.index { Some(self.base) } else { self.link(index).map(|l| l.1) }
    }

    pub(super) fn entry(&self, index: u64) -> Option<Rc<Entry>> {
        self.link(index).map(|l| l.0.clone())
    }

    pub(super) fn push(&mut self, entry: Rc<Entry>) {
        let place = self.last().then(&entry);
        self.links.push((entry, place));
    }

    /// Removes the entries from this index on.
    pub(super) fn truncate(&mut self, from: u64) {
        self.links.retain(|l| l.1.at.index < from);
    }

    /// Begins the log behind this place. Entries that follow it stay.
    pub(super) fn restart_at(&mut self, place: Place) {
        if self.place(place.at.index) == Some(place) {
            self.links.retain(|l| l.1.at.index > place.at.index);
        } else {
            self.links.clear();
        }
        self.base = place;
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Rc<Entry>> {
        self.links.iter().map(|l| &l.0)
    }
}
