//! A command on its way through Raft, and what it comes to.

use bkv_core::command::Command;
use bkv_core::effect::Outcome;
use bkv_core::id::{NodeId, Time};
use tokio::sync::oneshot;

/// What a proposal came to.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The state machine's answer.
    pub outcome: Outcome,
    /// Log index.
    pub index: u64,
    /// Entry time.
    pub time: Time,
}

/// Why a proposal came to nothing here. Repeating the same is free.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another vault leads, or nobody known.
    #[error("not the leader")]
    NotLeader(Option<NodeId>),
    /// No majority, no time, or shutting down. It may have been committed all the same.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The shard is stopped until a person has looked at it.
    #[error("halted: {0}")]
    Halted(String),
}

/// A command and whoever waits for it.
pub(crate) struct Proposal {
    pub(crate) command: Command,
    pub(crate) done: oneshot::Sender<Result<Committed, ProposeError>>,
}

/// Raft has ended here; this process says why in its log, and ends.
pub(super) fn stopping() -> ProposeError {
    ProposeError::Unavailable("this vault is stopping".into())
}

pub(super) fn late() -> ProposeError {
    ProposeError::Unavailable("no answer in time".into())
}
