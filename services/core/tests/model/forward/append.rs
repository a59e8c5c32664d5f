//! Which appends reach a replica's log. A contradiction is refused, and never halts the replica: so a history goes on behind it.

use std::rc::Rc;

use bkv_core::id::{NodeId, Time};
use bkv_core::join::Ballot;

use super::log::{Entry, Place};
use super::replica::{Phase, Replica};

/// Entries whose time is further ahead of the own clock are refused on arrival.
pub(super) const AHEAD_MS: u64 = 30_000;

pub(super) struct Append {
    pub(super) from: NodeId,
    pub(super) term: u64,
    pub(super) previous: Place,
    pub(super) entries: Vec<Rc<Entry>>,
    pub(super) committed: u64,
}

pub(super) fn in_time(time: Time, now: Time) -> bool {
    time <= now.plus(AHEAD_MS)
}

impl Replica {
    /// True if the replica follows this leader: its vote is not for a later one.
    pub(super) fn follows(&mut self, from: NodeId, term: u64) -> bool {
        let ballot = Ballot { term, node: from };
        if matches!(self.phase, Phase::Joining | Phase::Quarantined) || ballot < self.vote {
            return false;
        }
        if ballot != self.vote {
            self.leads = None;
        }
        self.vote = ballot;
        true
    }

    pub(super) fn append(&mut self, a: &Append, now: Time) -> Result<(), &'static str> {
        if !self.follows(a.from, a.term) {
            return Err("a newer vote, or joining");
        }
        let (first, applied) = (a.previous.at.index + 1, self.applied.at.index);
        let ordered = a.entries.iter().zip(first..).all(|(e, index)| e.index == index && e.term <= a.term);
        if !ordered {
            return Err("out of order");
        }
        let fits = |e: &Rc<Entry>| {
            in_time(e.batch.time, now) && e.batch.commands.iter().all(|c| c.check_size().is_ok())
        };
        if !a.entries.iter().all(fits) {
            return Err("an entry that no honest leader proposes");
        }
        match self.log.place(a.previous.at.index) {
            Some(ours) if ours == a.previous => {}
            // It has left the log, so it was applied. The entries up to there are compared below.
            None if a.previous.at.index < self.log.base() => {}
            Some(_) => return Err("another history before the entries"),
            None => return Err("a gap"),
        }
        let mut place = a.previous;
        for entry in &a.entries {
            place = place.then(entry);
            match self.log.place(entry.index) {
                Some(ours) if ours == place => continue,
                Some(_) if entry.index <= applied.max(self.highest_floor) => return Err("another history"),
                Some(_) => {
                    self.log.truncate(entry.index);
                    self.truncated = self.vote;
                }
                None if entry.index <= self.log.base() => continue,
                None => {}
            }
            if self.log.last().then(entry) != place {
                return Err("another history where the log begins");
            }
            self.log.push(entry.clone());
        }
        self.commit(a.committed.min(place.at.index), now);
        Ok(())
    }
}
