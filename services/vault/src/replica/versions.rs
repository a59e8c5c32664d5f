//! Versions of the state at a replica. It takes no entry that its program can't apply, and none of a version above the one that it has applied. A replica that has applied the raise to
//! a version that its program can't apply is *left behind*: it keeps its data, takes nothing more, and follows again once a newer program runs.

use std::sync::Arc;

use bkv_core::batch::Batch;
use bkv_core::command::{Command, Raise};
use bkv_core::encoding::cbor;
use bkv_core::id::Time;
use bkv_core::outcome::Outcome;
use openraft::EntryPayload;
use openraft::error::{ClientWriteError, RaftError};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::batch::NOT_APPLIED;
use super::handle::Replica;
use super::proposal::{ProposeError, late, stopping};
use super::status::Phase;
use crate::raft::types::{LogId, Payload};

/// Versions that this program can't apply, and that the replica has not applied. In memory only.
#[derive(Clone, Default)]
pub(crate) struct Newer(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The raise in the log.
    raised: Option<(LogId, u32)>,
    /// The version of a certified state that a leader has offered as a snapshot.
    certified: Option<u32>,
}

impl Replica {
    /// Looks for a raise in the log that is not applied, from the version in force to one that this program can't apply.
    pub(super) fn find_raise(&self) {
        let (log, versions, in_force) = (&self.state.log, self.state.versions, self.state.version());
        let last = log.last().map_or(0, |l| l.0.index);
        let found = (self.applied().saturating_add(1)..=last).find_map(|index| {
            let entry = log.read_range(index, index.saturating_add(1), usize::MAX).ok()?.pop()?;
            let EntryPayload::Normal(Payload(bytes)) = &entry.payload else { return None };
            let batch = Batch::is_raise(bytes).then(|| Batch::read(bytes, versions).ok()).flatten()?;
            let version = batch.raises_from(in_force)?;
            (!versions.contains(version)).then_some((entry.log_id, version))
        });
        self.raise_taken(found);
    }

    /// Why the replica takes nothing more until another program runs.
    pub(crate) fn left_behind(&self) -> Option<String> {
        let versions = self.state.versions;
        let known = [self.state.version(), self.newer.0.lock().certified];
        known.into_iter().flatten().find(|v| !versions.contains(*v)).map(|v| versions.cannot(v))
    }

    /// The version at which this program stops, if `previous` is at or behind its raise. Until such a raise is applied, and after that, the replica takes only blank entries: a new leader's
    /// may be needed to commit the raise.
    pub(super) fn stops_behind(&self, previous: Option<&LogId>) -> Option<u32> {
        let versions = self.state.versions;
        let applied = self.state.version().filter(|v| !versions.contains(*v));
        let raised = self.newer.0.lock().raised.filter(|(id, _)| {
            id.index > self.applied()
                && previous.is_some_and(|p| p.index >= id.index)
                && self.state.log.id_at(id.index).is_ok_and(|held| held == Some(*id))
        });
        applied.or(raised.map(|(_, version)| version))
    }

    /// Remembers a raise in the log to a version that this program can't apply. It may not be committed, and may be refused when it is applied.
    pub(super) fn raise_taken(&self, raised: Option<(LogId, u32)>) {
        if raised.is_some() {
            self.newer.0.lock().raised = raised;
        }
    }

    /// t other regions have signed a state of this version, and the log that leads to it is gone.
    pub(super) fn certified_at(&self, version: u32) {
        self.newer.0.lock().certified = Some(version);
        if let Some(why) = self.left_behind() {
            self.status.send_modify(|s| {
                s.lead = false;
                s.phase = Phase::LeftBehind(why);
            });
        }
    }

    /// Why Raft has not begun on this shard, for other vaults.
    pub(super) fn not_begun(&self) -> String {
        match &self.status.borrow().phase {
            Phase::LeftBehind(why) => format!("left behind: {why}"),
            _ => "joining".into(),
        }
    }

    /// Proposes the raise of the version, if this vault leads. It has an entry of its own.
    pub async fn raise(&self, raise: Raise, deadline: Instant) -> Result<Outcome, ProposeError> {
        let raft = self.raft.borrow().clone().filter(|_| self.status.borrow().lead);
        let raft = raft.ok_or(ProposeError::NotLeader(None))?;
        let (version, time) = (self.state.encodes(), Time(self.state.clock.now_ms()));
        let batch = Batch { version, time, commands: vec![Command::Raise(raise)] };
        match timeout_at(deadline, raft.client_write(Payload(cbor(&batch).into()))).await {
            Ok(Ok(written)) => Ok(written.data.outcomes.into_iter().next().unwrap_or(NOT_APPLIED)),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(ProposeError::NotLeader(None))
            }
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(late()),
        }
    }
}
