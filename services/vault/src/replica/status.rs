//! The status of a shard on this vault.

use bkv_core::id::NodeId;

use crate::raft::stop::{Stop, StopKind};

/// The status of a shard on this vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardStatus {
    /// How far joining has come.
    pub phase: Phase,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// True if this vault leads and takes proposals.
    pub lead: bool,
    /// Raft term.
    pub term: u64,
    /// Applied index.
    pub applied: u64,
    /// Last index in the log.
    pub last: u64,
}

/// How far joining has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Waits for these voters to report what they have seen.
    Joining {
        /// The voters that have not answered.
        missing: Vec<NodeId>,
    },
    /// Follows the leader until its log reaches this index.
    CatchingUp {
        /// Log index to reach.
        until: u64,
    },
    /// Takes part in Raft and serves.
    Verified,
    /// Its disk is older than what the node had acknowledged. The vault does not serve this shard until the root lifts the quarantine.
    Quarantined(String),
    /// t other regions have signed another state, this vault is not on the admission list, or Raft did not start or has ended. The text has the reason.
    Halted(String),
    /// The state has a version that this program can't apply. The vault keeps its data, and follows again once a program runs that can. The text has the versions.
    LeftBehind(String),
}

impl From<&Stop> for Phase {
    fn from(stop: &Stop) -> Self {
        match stop.kind {
            StopKind::Halted => Self::Halted(stop.to_string()),
            StopKind::Quarantined => Self::Quarantined(stop.to_string()),
        }
    }
}
