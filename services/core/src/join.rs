//! *Joining*: decides what a node may do in its shard after a start, from its own log and the answers of the other voters.
//!
//! If the saved vote of a node is for itself and committed, openraft makes it leader at once. On a rolled-back disk that would fork the shard. So a
//! node first asks all voters what they saw of it. It votes again only after enough answers.
//!
//! Only the node's own signature proves that its disk is an old one. The rest of an answer is a hint: a rooted voter may answer anything, and must not keep the node
//! from serving for longer than its silence would.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Encode};

use crate::id::{Hash, NodeId};

/// A Raft log position, compared by term, then index. The node id of the leader is not part of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct LogPosition {
    /// Raft term.
    #[n(0)]
    pub term: u64,
    /// Raft index.
    #[n(1)]
    pub index: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} of term {}", self.index, self.term)
    }
}

/// A Raft vote without its committed flag, because no node is leader after a restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Ballot {
    /// Raft term.
    #[n(0)]
    pub term: u64,
    /// The node that got the vote.
    #[n(1)]
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
    /// The chain hash at the end of what it has applied. A later leader may replace entries that are not applied, so an honest voter may have different ones.
    pub chain: Hash,
    /// The newest vote under which a leader had entries of its log removed. Zero: none so far.
    pub truncated: Ballot,
    /// Acknowledgements up to here no longer quarantine this disk, because the root has lifted such a quarantine.
    pub excused: LogPosition,
    /// True if the token's anchor shows that the disk is the one of the last orderly stop. Then it has everything that this node has ever acknowledged.
    pub anchored: bool,
}

/// An acknowledgement with the node's own signature, which the edge has checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    /// The vote under which it was given.
    pub vote: Ballot,
    /// The position.
    pub at: LogPosition,
    /// The chain hash there.
    pub chain: Hash,
    /// The chain hash that the node's log has for exactly this entry. None if it has none.
    pub mine: Option<Hash>,
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
    /// The end of what it has applied.
    pub applied: Option<Applied>,
    /// The newest checkpoint that it shows with the signatures of t regions, which the edge has checked.
    pub certified: Option<Certified>,
    /// Its chain hash at the end of what *we* have applied. None if its log doesn't contain that position.
    pub chain_at_ours: Option<Hash>,
    /// The highest position that this node has acknowledged to it, with this node's signature.
    pub acknowledged: Option<Acknowledged>,
}

/// The end of what a voter has applied. Entries behind it may be replaced by a later leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The last index that it has applied.
    pub index: u64,
    /// Its chain hash there.
    pub chain: Hash,
    /// The chain hash that the node's own log has there. None if it has none, or has not applied it.
    pub mine: Option<Hash>,
}

/// A place in the log where t regions have signed the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Certified {
    /// The place.
    pub at: LogPosition,
    /// The chain hash there.
    pub chain: Hash,
    /// The chain hash that the node's own log has there. None if it has none.
    pub mine: Option<Hash>,
}

impl Certified {
    /// As a goal, if the node's log does not have it.
    fn goal(&self, of: NodeId, mine: &Mine) -> Option<Goal> {
        let missing = self.at.index > mine.last.index || self.mine.is_some_and(|chain| chain != self.chain);
        let applied = Applied { index: self.at.index, chain: self.chain, mine: self.mine };
        missing.then_some(Goal { of, last: self.at, applied: Some(applied), certified: true })
    }
}

/// How far a voter says it is. The node follows until its log gets there, as long as it makes progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Goal {
    /// The voter.
    pub of: NodeId,
    /// The end of its log.
    pub last: LogPosition,
    /// The end of what it has applied.
    pub applied: Option<Applied>,
    /// True if t regions have signed this state: then it is no hint, and the node never gives it up.
    pub certified: bool,
}

/// What the node does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Ask again, because too few have answered.
    Wait {
        /// The voters that have not answered.
        missing: Vec<NodeId>,
    },
    /// Follow without calling an election until the log reaches the goals. Then the node is verified.
    CatchUp {
        /// The vote to save first, uncommitted.
        ballot: Ballot,
        /// The voters that report more than the node has.
        goals: Vec<Goal>,
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
    /// This node has signed for a position past the end of its log.
    #[error(
        "node {seen_by} has this node's signature on {acknowledged}, but its disk ends at {have}: the disk is older than the node"
    )]
    RolledBack {
        /// The voter that has the signature.
        seen_by: NodeId,
        /// The position that was acknowledged.
        acknowledged: LogPosition,
        /// The end of the log on the disk.
        have: LogPosition,
    },
    /// This node has signed another chain hash than its log has there.
    #[error("node {seen_by} has this node's signature on another history at {at}")]
    Forked {
        /// The voter that has the signature.
        seen_by: NodeId,
        /// The position.
        at: LogPosition,
    },
}

impl Reason {
    /// The position that the node has signed for.
    pub const fn acknowledged(&self) -> LogPosition {
        match self {
            Self::RolledBack { acknowledged, .. } => *acknowledged,
            Self::Forked { at, .. } => *at,
        }
    }
}

impl Mine {
    /// Why this acknowledgement proves that the disk is not the newest one of this node.
    fn refuted(&self, seen_by: NodeId, a: &Acknowledged) -> Option<Reason> {
        if a.at <= self.excused {
            return None;
        }
        if a.at > self.last {
            // A later leader may have had the entry removed before it sent the entry that replaces it. The node signs nothing more under the earlier vote, so a disk
            // that has such a removal is newer than the signature.
            let removed = self.truncated > a.vote;
            let rolled_back = Reason::RolledBack { seen_by, acknowledged: a.at, have: self.last };
            return (!removed).then_some(rolled_back);
        }
        let forked = a.mine.is_some_and(|mine| mine != a.chain);
        forked.then_some(Reason::Forked { seen_by, at: a.at })
    }
}

/// Voters that report another chain hash than this node has applied. That proves nothing, because the answer may be a lie.
pub fn contradicting(mine: &Mine, answers: &BTreeMap<NodeId, Told>) -> Vec<NodeId> {
    let at_applied = |t: &Told| t.chain_at_ours.is_some_and(|h| h != mine.chain);
    let applied = |t: &Told| t.applied.is_some_and(|a| a.mine.is_some_and(|mine| mine != a.chain));
    let other = |t: &Told| at_applied(t) || applied(t);
    answers.iter().filter(|(_, t)| other(t)).map(|(node, _)| *node).collect()
}

/// Decides from the answers so far. `voters` are all voters of the shard, this node included.
///
/// Rule 1: the node's anchor proves its disk. It needs no answer, so it serves also while another region is away. A signature of its own on more than the disk has, and
/// what t regions have signed, count all the same: an anchor can be set back together with the disk.
///
/// Rule 2: f+1 other *verified* voters have answered. Any f+1 of them include one that took part in every commit, and so in every majority that could
/// have counted this node. Rule 3: if fewer are verified (all power was lost, or restarts overlap), *all* voters must have answered. In both cases
/// the node then follows until its log reaches what the voters report.
///
/// A voter that contradicts what this node has applied has answered, but sets no goal by its word. What t regions have signed is a goal, whoever shows it.
pub fn decide(mine: &Mine, voters: &[NodeId], answers: &BTreeMap<NodeId, Told>) -> Decision {
    let others: Vec<NodeId> = voters.iter().copied().filter(|v| *v != mine.node).collect();
    let told: Vec<(NodeId, &Told)> = others.iter().filter_map(|v| answers.get(v).map(|t| (*v, t))).collect();
    let refuted = told.iter().find_map(|(n, t)| mine.refuted(*n, t.acknowledged.as_ref()?));
    if let Some(reason) = refuted {
        return Decision::Quarantine(reason);
    }
    let faults = voters.len().saturating_sub(1) / 2;
    let verified = told.iter().filter(|(_, t)| t.verified).count();
    let rule_2 = !others.is_empty() && verified > faults;
    if !mine.anchored && !rule_2 && told.len() < others.len() {
        let missing = others.into_iter().filter(|v| !answers.contains_key(v)).collect();
        return Decision::Wait { missing };
    }
    let ballot = told.iter().map(|(_, t)| t.ballot).chain([mine.ballot]).max().unwrap_or(mine.ballot);
    let contradicting = contradicting(mine, answers);
    let goals: Vec<Goal> = told
        .iter()
        .filter(|(node, t)| !mine.anchored && t.last > mine.last && !contradicting.contains(node))
        .map(|(of, t)| Goal { of: *of, last: t.last, applied: t.applied, certified: false })
        .chain(told.iter().filter_map(|(of, t)| t.certified?.goal(*of, mine)))
        .collect();
    if goals.is_empty() { Decision::Verified { ballot } } else { Decision::CatchUp { ballot, goals } }
}

/// How far a node is on the way to a goal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Its log is not there yet.
    Behind,
    /// Its log is there, with the same history.
    Reached,
    /// Its log is there with another history. Either the voter or the leader has lied, so the node must not serve.
    Contradicted,
}

impl Goal {
    /// Compares the goal with the end of the node's log and with the chain hash that the node has at an index. None there: that entry has left the log.
    pub fn progress(&self, last: LogPosition, chain_at: impl Fn(u64) -> Option<Hash>) -> Progress {
        if last < self.last {
            return Progress::Behind;
        }
        let Some(applied) = self.applied else { return Progress::Reached };
        if last.index < applied.index {
            return Progress::Behind;
        }
        match chain_at(applied.index) {
            Some(mine) if mine != applied.chain => Progress::Contradicted,
            _ => Progress::Reached,
        }
    }
}

#[cfg(test)]
#[path = "join_test.rs"]
mod join_test;
