//! Checks on calls from other vaults before Raft sees them, and how they are refused.

use std::collections::BTreeSet;

use bkv_core::batch::Batch;
use bkv_core::bounds::Oversized;
use bkv_core::command::Command;
use bkv_core::id::Time;
use bkv_wire::proto::peer as p;
use openraft::EntryPayload;

use super::context::Context;
use super::handle::Replica;
use crate::peer::Body;
use crate::raft::bounds::{Bounds, OutOfBounds};
use crate::raft::sizes::{self, APPEND, COMMANDS, ENTRIES, ENTRY};
use crate::raft::types::{Entry, LogId, Membership, Vote};

/// Why entries or a snapshot do not reach the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Inadmissible {
    #[error("an entry can't be decoded: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    #[error("{0} from more than 30 s in the future: a clock is wrong")]
    Future(&'static str),
    #[error("no admission list is in force on this vault")]
    NoAdmission,
    #[error("a membership of other nodes than the admission list names")]
    Membership,
    #[error("left behind: {0}")]
    LeftBehind(String),
    #[error("an entry of version {0} of the state, where version {1} is in force")]
    Early(u32, u32),
    #[error("entries that do not follow each other")]
    Order,
    #[error("an entry of a later term than its leader's")]
    Term,
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    #[error("an entry with {0}")]
    Command(#[from] Oversized),
    #[error("an entry of {0} bytes, at most {ENTRY} are allowed")]
    Entry(usize),
    #[error("an entry of {0} commands, at most {COMMANDS} are allowed")]
    Commands(usize),
    #[error("an append of {0} entries, at most {ENTRIES} are allowed")]
    Entries(usize),
    #[error("an append of {0} bytes, at most {APPEND} are allowed")]
    Append(usize),
}

/// Entries whose time is further ahead of this vault's clock are refused on arrival.
const AHEAD_MS: u64 = 30_000;

/// Refuses bytes that would fill the log, or that this replica, as a leader, could not send to a follower that was away. Before anything is decoded.
fn in_size(entries: &[Entry]) -> Result<(), Inadmissible> {
    if entries.len() > ENTRIES {
        return Err(Inadmissible::Entries(entries.len()));
    }
    let mut all = 0usize;
    for size in entries.iter().map(sizes::of) {
        if size > ENTRY {
            return Err(Inadmissible::Entry(size));
        }
        all = all.saturating_add(size);
    }
    if all > APPEND { Err(Inadmissible::Append(all)) } else { Ok(()) }
}

pub(super) fn refuse(reason: impl Into<String>) -> Body {
    Body::Failed(p::Failed { reason: reason.into() })
}

impl Context {
    pub(super) fn shard(&self, number: u32) -> Option<&Replica> {
        self.replicas.get(usize::try_from(number).ok()?)
    }

    /// Refuses entries before they reach the log: what is larger than any client can cause, times in the future, or members that the root did not admit.
    /// Returns the last raise among them to a version that this program can't apply.
    pub(super) fn acceptable(
        &self,
        r: &Replica,
        previous: Option<&LogId>,
        entries: &[Entry],
    ) -> Result<Option<(LogId, u32)>, Inadmissible> {
        in_size(entries)?;
        let (versions, in_force) = (r.state.versions, r.state.version());
        let (mut stop, mut raised) = (r.stops_behind(previous), None);
        for e in entries {
            if let (Some(version), EntryPayload::Normal(_) | EntryPayload::Membership(_)) = (stop, &e.payload)
            {
                return Err(Inadmissible::LeftBehind(versions.cannot(version)));
            }
            match &e.payload {
                EntryPayload::Normal(b) => {
                    let found = Batch::version_of(&b.0)?;
                    match in_force {
                        Some(version) if found > version => return Err(Inadmissible::Early(found, version)),
                        Some(version) if found < version => continue, // it does nothing
                        _ => {}
                    }
                    let batch = Batch::read(&b.0, versions)?;
                    if batch.commands.len() > COMMANDS {
                        return Err(Inadmissible::Commands(batch.commands.len()));
                    }
                    batch.commands.iter().try_for_each(Command::check_size)?;
                    self.in_time("an entry", batch.time)?;
                    if let Some(version) = batch.raises_from(in_force).filter(|v| !versions.contains(*v)) {
                        stop = Some(version);
                        raised = Some((e.log_id, version));
                    }
                }
                EntryPayload::Membership(m) => self.whole(m)?,
                EntryPayload::Blank => {}
            }
        }
        Ok(raised)
    }

    /// Refuses an append whose numbers are impossible.
    pub(super) fn ordered(
        &self,
        vote: &Vote,
        previous: Option<&LogId>,
        entries: &[Entry],
        committed: Option<&LogId>,
    ) -> Result<(), Inadmissible> {
        let bounds = self.bounds();
        for id in previous.into_iter().chain(committed).chain(entries.iter().map(|e| &e.log_id)) {
            bounds.id(id)?;
        }
        let first = previous.map_or(0, |id| id.index + 1);
        if !entries.iter().zip(first..).all(|(e, index)| e.log_id.index == index) {
            return Err(Inadmissible::Order);
        }
        // In a log no term is lower than the one before it. openraft takes the highest id for the last one.
        let ids = || previous.into_iter().chain(entries.iter().map(|e| &e.log_id));
        if !ids().zip(ids().skip(1)).all(|(a, b)| a.leader_id <= b.leader_id) {
            return Err(Inadmissible::Order);
        }
        if entries.iter().any(|e| e.log_id.leader_id.term > vote.leader_id.term) {
            return Err(Inadmissible::Term);
        }
        Ok(())
    }

    pub(super) fn in_time(&self, what: &'static str, time: Time) -> Result<(), Inadmissible> {
        if time.0 > self.clock.now_ms().saturating_add(AHEAD_MS) {
            return Err(Inadmissible::Future(what));
        }
        Ok(())
    }

    /// Refuses a membership unless every member of the admission list votes in it, and nobody else is in it. Without the honest members a rooted vault would be a
    /// majority alone, and they would stay learners.
    pub(super) fn whole(&self, m: &Membership) -> Result<(), Inadmissible> {
        let list = self.admitted.get().ok_or(Inadmissible::NoAdmission)?;
        let members: BTreeSet<u64> = list.members.iter().map(|m| m.node.0).collect();
        let nodes: BTreeSet<u64> = m.nodes().map(|(id, _)| *id).collect();
        let voters = m.get_joint_config();
        if nodes == members && voters.iter().all(|v| *v == members) && !voters.is_empty() {
            Ok(())
        } else {
            Err(Inadmissible::Membership)
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds::at(self.clock.now_ms())
    }
}
