//! How a shard is on this vault.

use bkv_core::id::NodeId;

/// How a shard is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardStatus {
    /// How far joining is.
    pub phase: Phase,
    /// As far as known.
    pub leader: Option<NodeId>,
    /// Does this vault lead, and take proposals?
    pub lead: bool,
    /// Raft term.
    pub term: u64,
    /// Applied index.
    pub applied: u64,
    /// Last index.
    pub last: u64,
}

/// How far joining is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Waits for these to tell what they saw.
    Joining {
        /// Whom.
        missing: Vec<NodeId>,
    },
    /// Follows until its log reaches this index.
    CatchingUp {
        /// Index.
        until: u64,
    },
    /// Serves.
    Verified,
    /// Its disk is older than the node; it never serves with it.
    Quarantined(String),
    /// History contradicts itself.
    Halted(String),
}
