//! *Joining*: decides what a node may do in its shard after a start, from its own log and the answers of the other voters.
//!
//! If the saved vote of a node is for itself and committed, openraft makes it leader at once. On a rolled-back disk that would fork the shard. So a
//! node first asks all voters what they saw of it. It votes again only after enough answers, and once its log reaches the highest position that they
//! report.

use std::collections::BTreeMap;

use crate::id::{Hash, NodeId};

/// A Raft log position, compared by term, then index. The node id of the leader is not part of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogPosition {
    /// Raft term.
    pub term: u64,
    /// Raft index.
    pub index: u64,
}

/// A Raft vote without its committed flag, because no node is leader after a restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ballot {
    /// Raft term.
    pub term: u64,
    /// The node that got the vote.
    pub node: NodeId,
}

/// The state on the node's own disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mine {
    /// Its Raft id.
    pub node: NodeId,
    /// Its saved vote.
    pub ballot: Ballot,
    /// The end of its log.
    pub last: LogPosition,
    /// The chain hash at the end of its log.
    pub chain: Hash,
}

/// The answer of another voter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// True if that voter has finished joining itself.
    pub verified: bool,
    /// Its vote.
    pub ballot: Ballot,
    /// The end of its log.
    pub last: LogPosition,
    /// Its chain hash at *our* last position. None if its log doesn't contain that position.
    pub chain_at_ours: Option<Hash>,
    /// The highest position that it saw this node acknowledge, if any.
    pub acknowledged: Option<LogPosition>,
}

/// What the node does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Ask again, because too few have answered.
    Wait {
        /// The voters that have not answered.
        missing: Vec<NodeId>,
    },
    /// Follow without voting or calling an election until the log reaches `until`. Then the node is verified.
    CatchUp {
        /// The vote to save first, uncommitted.
        ballot: Ballot,
        /// The highest position reported.
        until: LogPosition,
    },
    /// Verified at once, because no answer reports a higher position.
    Verified {
        /// The vote to save first, uncommitted.
        ballot: Ballot,
    },
    /// Never serve from this disk.
    Quarantine(Reason),
}

/// Why a disk is quarantined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// Another voter saw this node acknowledge a position past the end of its log.
    #[error(
        "node {seen_by} saw this node acknowledge {acknowledged:?}, but its disk ends at {have:?}: the disk is older than the node"
    )]
    RolledBack {
        /// The voter that saw it.
        seen_by: NodeId,
        /// The position that was acknowledged.
        acknowledged: LogPosition,
        /// The end of the log on the disk.
        have: LogPosition,
    },
    /// Another voter has another chain hash at the same position.
    #[error("node {with} has another history at {at:?}")]
    Forked {
        /// The voter with the other history.
        with: NodeId,
        /// The position.
        at: LogPosition,
    },
}

/// Decides from the answers so far. `voters` are all voters of the shard, this node included.
///
/// Rule 2: f+1 other *verified* voters have answered. Any f+1 of them include one that took part in every commit, and so in every majority that could
/// have counted this node. Rule 3: if fewer are verified (all power was lost, or restarts overlap), *all* voters must have answered. In both cases
/// the node may serve once its log reaches the highest position reported. It then has everything that was ever committed among those that answered.
pub fn decide(mine: &Mine, voters: &[NodeId], answers: &BTreeMap<NodeId, Told>) -> Decision {
    let others: Vec<NodeId> = voters.iter().copied().filter(|v| *v != mine.node).collect();
    let told: Vec<(NodeId, &Told)> = others.iter().filter_map(|v| answers.get(v).map(|t| (*v, t))).collect();
    // One voter's report is enough to stop. A false alarm costs availability. A missed rollback gives an attacker more guesses.
    for (node, t) in &told {
        if let Some(acknowledged) = t.acknowledged.filter(|a| *a > mine.last) {
            return Decision::Quarantine(Reason::RolledBack {
                seen_by: *node,
                acknowledged,
                have: mine.last,
            });
        }
        if t.chain_at_ours.is_some_and(|h| h != mine.chain) {
            return Decision::Quarantine(Reason::Forked { with: *node, at: mine.last });
        }
    }
    let faults = voters.len().saturating_sub(1) / 2;
    let verified = told.iter().filter(|(_, t)| t.verified).count();
    let rule_2 = !others.is_empty() && verified > faults;
    if !rule_2 && told.len() < others.len() {
        let missing = others.into_iter().filter(|v| !answers.contains_key(v)).collect();
        return Decision::Wait { missing };
    }
    let ballot = told.iter().map(|(_, t)| t.ballot).chain([mine.ballot]).max().unwrap_or(mine.ballot);
    let until = told.iter().map(|(_, t)| t.last).max().unwrap_or(mine.last);
    if until > mine.last { Decision::CatchUp { ballot, until } } else { Decision::Verified { ballot } }
}

#[cfg(test)]
#[path = "join_test.rs"]
mod join_test;
