//! How far the other voters said they are, while this replica catches up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bkv_core::join::{Goal, LogPosition, Progress};
use tokio::time::Instant;

use super::handle::Replica;
use crate::raft::contradictions::Contradictions;
use crate::raft::types::position;

/// The goals that are not reached yet.
pub(super) struct Goals {
    /// Whether the voter has been named for it.
    open: Vec<(Goal, bool)>,
    /// The end of the log, and when it last came nearer to what the leader calls committed.
    nearer: (LogPosition, Instant),
}

impl Goals {
    pub(super) fn new(open: Vec<Goal>, last: LogPosition) -> Self {
        let open = open.into_iter().map(|g| (g, false)).collect();
        Self { open, nearer: (last, Instant::now()) }
    }

    /// The highest position to reach. None: this replica has caught up.
    pub(super) fn until(&self) -> Option<LogPosition> {
        self.open.iter().map(|(g, _)| g.last).max()
    }

    /// Drops the goals that the log has reached, and those that no leader delivers: a voter that lies could name a position that does not exist. A certified position does
    /// exist, and stays. New entries do not extend the wait, because clients send them all the time. A goal that is reached with another history stays. Either that voter or
    /// the leader lies, and only people can tell which.
    pub(super) fn advance(&mut self, replica: &Replica, named: &Contradictions, patience: Duration) {
        let (shard, log) = (replica.state.shard, &replica.state.log);
        let last = position(log.last().as_ref().map(|l| &l.0));
        if self.nearer.0 != last && replica.leader_committed.load(Ordering::Relaxed) > last.index {
            self.nearer = (last, Instant::now());
        }
        let stalled = self.nearer.1.elapsed() >= patience;
        self.open.retain_mut(|(goal, known)| match goal.progress(last, |index| log.chain_at_index(index)) {
            Progress::Reached => false,
            Progress::Behind if stalled && !goal.certified => {
                let why = format!("it reports a log up to {}, which no leader delivers", goal.last);
                named.note(shard, goal.of, 0, &why);
                false
            }
            Progress::Behind => true,
            Progress::Contradicted => {
                if !std::mem::replace(known, true) {
                    named.note(shard, goal.of, 0, "it reports another history than the leader sends");
                }
                true
            }
        });
    }
}
