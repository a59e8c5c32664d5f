//! *Joining*: what a node that has just started may do in its shard. A pure decision from its own log and the answers of the other voters.
//!
//! If the saved vote of a node is for itself and committed, openraft makes it leader at once. On a rolled-back disk that would fork the shard. So a node
//! first asks all voters what they saw of it. It votes again only after enough answers, and once its log is as long as the longest that they report.

use std::collections::BTreeMap;

use crate::id::{Hash, NodeId};

/// A Raft log position. Compared by term, then index (the node that led a term is the term's).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogPosition {
    /// Raft term.
    pub term: u64,
    /// Raft index.
    pub index: u64,
}

/// A Raft vote, without its committed flag: nobody is leader after a restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ballot {
    /// Raft term.
    pub term: u64,
    /// Voted for.
    pub node: NodeId,
}

/// What the node itself has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mine {
    /// Its Raft id.
    pub node: NodeId,
    /// Its saved vote.
    pub ballot: Ballot,
    /// The end of its log.
    pub last: LogPosition,
    /// The chain hash there.
    pub chain: Hash,
}

/// The answer of another voter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Is it past joining itself?
    pub verified: bool,
    /// Its vote.
    pub ballot: Ballot,
    /// The end of its log.
    pub last: LogPosition,
    /// The chain hash that it has at *our* last position; None if its log doesn't hold that position.
    pub chain_at_ours: Option<Hash>,
    /// The highest position that it saw us acknowledge, if any.
    pub acknowledged: Option<LogPosition>,
}

/// What the node may do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Ask again: too few have answered.
    Wait {
        /// Who is missing.
        missing: Vec<NodeId>,
    },
    /// Follow, without voting or electing, until the log reaches `until`; then it is verified.
    CatchUp {
        /// To be saved first, uncommitted.
        ballot: Ballot,
        /// The highest position reported.
        until: LogPosition,
    },
    /// Verified at once: nobody has more.
    Verified {
        /// To be saved first, uncommitted.
        ballot: Ballot,
    },
    /// Never serve with this disk.
    Quarantine(Reason),
}

/// Why a disk is not trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// Another voter saw it acknowledge more than its log holds.
    #[error(
        "node {seen_by} saw this node acknowledge {acknowledged:?}, but its disk ends at {have:?}: the disk is older than the node"
    )]
    RolledBack {
        /// Who saw it.
        seen_by: NodeId,
        /// What it saw.
        acknowledged: LogPosition,
        /// What the disk has.
        have: LogPosition,
    },
    /// The same position holds another history elsewhere.
    #[error("node {with} has another history at {at:?}")]
    Forked {
        /// Who has it.
        with: NodeId,
        /// Where.
        at: LogPosition,
    },
}

/// Decides from the answers so far. `voters` are all of the shard, this node among them.
///
/// Rule 2: f+1 other *verified* voters have answered. Any f+1 of them include one that took part in every commit, and so in every majority that could
/// have counted this node. Rule 3: if fewer are verified (all power was lost, or restarts overlap), *all* voters must have answered. In both cases the
/// node may serve once its log reaches the highest position reported. It then has everything that was ever committed among those that answered.
pub fn decide(mine: &Mine, voters: &[NodeId], answers: &BTreeMap<NodeId, Told>) -> Decision {
    let others: Vec<NodeId> = voters.iter().copied().filter(|v| *v != mine.node).collect();
    let told: Vec<(NodeId, &Told)> = others.iter().filter_map(|v| answers.get(v).map(|t| (*v, t))).collect();
    // One witness is enough to stop. A false alarm costs availability, a missed rollback gives an attacker guesses.
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
