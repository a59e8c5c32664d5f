//! Checks on calls from other vaults before Raft sees them, and how they are refused.

use bkv_core::command::Batch;
use bkv_core::id::{NodeId, Time};
use bkv_wire::proto::peer as p;
use openraft::EntryPayload;

use super::context::Context;
use super::handle::Replica;
use super::status::Phase;
use crate::peer::Body;
use crate::raft::types::{Entry, Membership};

/// Why entries or a snapshot do not reach the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Inadmissible {
    #[error("an entry can't be decoded: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    #[error("{0} from more than 30 s in the future: a clock is wrong")]
    Future(&'static str),
    #[error("no admission list is in force on this vault")]
    NoAdmission,
    #[error("node {0} is not on the admission list")]
    Stranger(u64),
}

/// Entries whose time is further ahead of this vault's clock are refused on arrival.
const AHEAD_MS: u64 = 30_000;

pub(super) fn refuse(reason: impl Into<String>) -> Body {
    Body::Failed(p::Failed { reason: reason.into() })
}

/// Halts the shard after a contradiction: it accepts nothing here until an operator has looked at it.
pub(super) fn halt(r: &Replica, why: String) {
    r.state.log.halt(why.clone());
    r.status.send_modify(|s| s.phase = Phase::Halted(why));
}

impl Context {
    pub(super) fn shard(&self, number: u32) -> Option<&Replica> {
        self.replicas.get(usize::try_from(number).ok()?)
    }

    /// Refuses entries before they reach the log: times in the future, or members that the root did not admit.
    pub(super) fn acceptable(&self, entries: &[Entry]) -> Result<(), Inadmissible> {
        for e in entries {
            match &e.payload {
                EntryPayload::Normal(b) => {
                    let batch: Batch = minicbor::decode(&b.0)?;
                    self.in_time("an entry", batch.time)?;
                }
                EntryPayload::Membership(m) => self.no_strangers(m)?,
                EntryPayload::Blank => {}
            }
        }
        Ok(())
    }

    pub(super) fn in_time(&self, what: &'static str, time: Time) -> Result<(), Inadmissible> {
        if time.0 > self.clock.now_ms().saturating_add(AHEAD_MS) {
            return Err(Inadmissible::Future(what));
        }
        Ok(())
    }

    pub(super) fn no_strangers(&self, m: &Membership) -> Result<(), Inadmissible> {
        let list = self.admitted.get().ok_or(Inadmissible::NoAdmission)?;
        m.nodes()
            .find(|(id, _)| list.node(NodeId(**id)).is_none())
            .map_or(Ok(()), |(stranger, _)| Err(Inadmissible::Stranger(*stranger)))
    }
}
