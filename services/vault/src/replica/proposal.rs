//! A command on its way through Raft, and its result.

use bkv_core::bounds::Oversized;
use bkv_core::command::Command;
use bkv_core::id::{NodeId, Time};
use bkv_core::outcome::Outcome;
use tokio::sync::oneshot;

use super::under_way::ProposalPermit;

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
    /// The shard is halted or quarantined until the root lifts that.
    #[error("stopped: {0}")]
    Halted(String),
    /// The command is larger than any that an honest client causes. It did not reach the log.
    #[error(transparent)]
    Oversized(#[from] Oversized),
    /// Too many proposals of the account are under way. The command did not reach the log.
    #[error("too many operations of this account are under way: repeat the same request in a moment")]
    Busy,
    /// The volume is nearly full. The command did not reach the log.
    #[error(
        "the vault's disk is nearly full: until there is space it takes only what ends an attempt or deletes a key. Nothing was counted"
    )]
    Full,
}

/// A command and the channel on which its sender waits.
pub(crate) struct Proposal {
    pub(crate) command: Command,
    /// Bytes of the command, encoded.
    pub(crate) size: usize,
    pub(crate) waiting: Waiting,
}

/// The sender of a proposal.
pub(crate) struct Waiting {
    pub(crate) done: oneshot::Sender<Result<Committed, ProposeError>>,
    /// Held until the entry is committed or given up, even if the sender waits no longer.
    pub(crate) permit: Option<ProposalPermit>,
}

impl Waiting {
    pub(crate) fn answer(self, result: Result<Committed, ProposeError>) {
        // Give the permit back first: the sender may propose again as soon as it has its answer.
        drop(self.permit);
        let _ = self.done.send(result);
    }
}

/// Raft has ended on this vault. The process logs the reason and ends.
pub(super) fn stopping() -> ProposeError {
    ProposeError::Unavailable("this vault is stopping".into())
}

pub(super) fn late() -> ProposeError {
    ProposeError::Unavailable("no answer in time".into())
}
