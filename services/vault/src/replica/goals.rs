//! How far the other voters said they are, while this replica catches up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_core::join::{Goal, LogPosition, Progress};
use tokio::time::Instant;

use super::handle::Replica;
use crate::raft::contradictions::Contradictions;
use crate::raft::types::position;

/// A goal that is not reached yet.
struct Open {
    goal: Goal,
    /// When the log was found to have another history there, or when the voter was asked again since.
    contradicted: Option<Instant>,
}

/// The goals that are not reached yet.
pub(super) struct Goals {
    open: Vec<Open>,
    /// The end of the log, and when it last came nearer to what the leader calls committed.
    nearer: (LogPosition, Instant),
}

impl Goals {
    pub(super) fn new(open: Vec<Goal>, last: LogPosition) -> Self {
        let open = open.into_iter().map(|goal| Open { goal, contradicted: None }).collect();
        Self { open, nearer: (last, Instant::now()) }
    }

    /// The highest position to reach. None: this replica has caught up.
    pub(super) fn until(&self) -> Option<LogPosition> {
        self.open.iter().map(|o| o.goal.last).max()
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
        self.open.retain_mut(|Open { goal, contradicted }| {
            match goal.progress(last, |index| log.chain_at_index(index)) {
                Progress::Reached => false,
                Progress::Behind if stalled && !goal.certified => {
                    let why = format!("it reports a log up to {}, which no leader delivers", goal.last);
                    named.note(shard, goal.of, 0, &why);
                    false
                }
                Progress::Behind => true,
                Progress::Contradicted => {
                    if contradicted.is_none() {
                        *contradicted = Some(Instant::now());
                        named.note(shard, goal.of, 0, "it reports another history than the leader sends");
                    }
                    true
                }
            }
        });
    }

    /// The voters to ask again, because their goal has been contradicted for this long. Perhaps they had not caught up themselves. What t regions have signed stays.
    pub(super) fn doubtful(&mut self, patience: Duration) -> Vec<NodeId> {
        let mut voters = Vec::new();
        for open in self.open.iter_mut().filter(|o| !o.goal.certified) {
            if open.contradicted.is_some_and(|since| since.elapsed() >= patience) {
                open.contradicted = Some(Instant::now());
                voters.push(open.goal.of);
            }
        }
        voters
    }

    /// Puts a voter's new answer in place of its old one.
    pub(super) fn replace(&mut self, goal: Goal) {
        for open in self.open.iter_mut().filter(|o| o.goal.of == goal.of && !o.goal.certified) {
            open.goal = goal;
        }
    }
}
