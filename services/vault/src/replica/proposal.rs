//! A command on its way through Raft, and its result.

use bkv_core::command::Command;
use bkv_core::effect::Outcome;
use bkv_core::id::{NodeId, Time};
use tokio::sync::oneshot;

/// The result of a committed proposal.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The state machine's answer.
    pub outcome: Outcome,
    /// Log index.
    pub index: u64,
    /// Entry time.
    pub time: Time,
}

/// Why a proposal failed on this vault. Repeating the same command is free.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another vault leads, or no leader is known.
    #[error("not the leader")]
    NotLeader(Option<NodeId>),
    /// No majority answered, the deadline passed, or the vault is shutting down. The command may still be committed.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The shard is halted until an operator has looked at it.
    #[error("halted: {0}")]
    Halted(String),
}

/// A command and the channel on which its sender waits.
pub(crate) struct Proposal {
    pub(crate) command: Command,
    pub(crate) done: oneshot::Sender<Result<Committed, ProposeError>>,
}

/// Raft has ended on this vault. The process logs the reason and ends.
pub(super) fn stopping() -> ProposeError {
    ProposeError::Unavailable("this vault is stopping".into())
}

pub(super) fn late() -> ProposeError {
    ProposeError::Unavailable("no answer in time".into())
}
