//! A vault starts again, perhaps from an older disk. `bkv_core::join` decides.

use std::collections::BTreeMap;

use bkv_core::id::NodeId;
use bkv_core::join::{Acknowledged, Applied, Ballot, Certified, Decision, LogPosition, Mine, Told, decide};

use super::LIAR;
use super::log::Place;
use super::replica::{Phase, Replica};

/// What the liar answers a vault that joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiarTold {
    Nothing,
    /// That there is nothing new.
    Verified,
    /// A term that is ahead.
    Term(u8),
}

impl Replica {
    /// Forgets what is in memory only.
    pub(super) fn restart(&mut self) {
        self.phase = Phase::Joining;
        self.leads = None;
        self.reached.clear();
        self.claims.clear();
    }

    fn mine(&self) -> Mine {
        let last = self.log.last();
        Mine {
            node: NodeId(u64::from(self.me.0)),
            ballot: self.vote,
            last: last.at,
            chain: self.applied.chain,
            truncated: self.truncated,
            excused: LogPosition::default(),
            anchored: false,
        }
    }

    /// The answer to a replica that joins. `acknowledged` is what this vault, as leader, saw of it, under which vote.
    fn told(&self, asker: &Self, acknowledged: Option<(Ballot, Place)>) -> Told {
        let end = asker.applied.at;
        let theirs = |index| asker.log.place(index).map(|p| p.chain);
        let certified = self.certified.as_ref().map(|(c, _)| &c.checkpoint);
        Told {
            verified: self.is_verified(),
            ballot: self.vote,
            last: self.log.last().at,
            applied: Some(Applied {
                index: self.applied.at.index,
                chain: self.applied.chain,
                mine: theirs(self.applied.at.index)
                    .filter(|_| self.applied.at.index <= asker.applied.at.index),
            }),
            certified: certified.map(|c| Certified {
                at: LogPosition { term: c.term, index: c.index },
                chain: c.chain,
                mine: theirs(c.index),
            }),
            chain_at_ours: self.log.place(end.index).filter(|p| p.at == end).map(|p| p.chain),
            acknowledged: acknowledged.map(|(vote, place)| Acknowledged {
                vote,
                at: place.at,
                chain: place.chain,
                mine: asker.log.place(place.at.index).filter(|p| p.at == place.at).map(|p| p.chain),
            }),
        }
    }

    /// Asks `other`, an honest voter, and the liar, and decides.
    pub(super) fn join(&mut self, other: &Self, acknowledged: Option<(Ballot, Place)>, liar: LiarTold) {
        let mine = self.mine();
        let mut answers = BTreeMap::new();
        answers.insert(NodeId(u64::from(other.me.0)), other.told(self, acknowledged));
        let term = match liar {
            LiarTold::Nothing => None,
            LiarTold::Verified => Some(0),
            LiarTold::Term(more) => Some(self.vote.term + u64::from(more)),
        };
        if let Some(term) = term {
            let ballot = Ballot { term, node: NodeId(u64::from(LIAR)) };
            let told = Told {
                verified: true,
                ballot,
                last: LogPosition::default(),
                applied: None,
                certified: None,
                chain_at_ours: None,
                acknowledged: None,
            };
            answers.insert(NodeId(u64::from(LIAR)), told);
        }
        let voters: Vec<NodeId> = (1..=u64::from(LIAR)).map(NodeId).collect();
        let (ballot, until) = match decide(&mine, &voters, &answers) {
            Decision::Wait { .. } => return,
            Decision::Quarantine(_) => {
                self.phase = Phase::Quarantined;
                return;
            }
            Decision::Verified { ballot } => (ballot, mine.last),
            Decision::CatchUp { ballot, goals } => {
                (ballot, goals.iter().map(|g| g.last).max().unwrap_or(mine.last))
            }
        };
        self.vote = self.vote.max(ballot);
        // Stricter than the vault, where a voter that contradicts what the vault has applied sets no goal. Here the history must be that of the other voter, also after another restart. Without
        // this rule the model finds that a rooted leader feeds an old disk a history of its own behind the newest certified checkpoint until it is verified, and so gets the guesses since that checkpoint again.
        self.phase = Phase::CatchingUp { until, applied: (other.applied.at.index, other.applied.chain) };
        self.caught_up();
    }

    /// Ends catching up once the log is where the other voter was, with the same history.
    pub(super) fn caught_up(&mut self) {
        let Phase::CatchingUp { until, applied: (index, theirs) } = self.phase else { return };
        let reached = self.log.last().at >= until && self.applied.at.index >= index;
        if reached && self.log.place(index).is_none_or(|p| p.chain == theirs) {
            self.phase = Phase::Verified;
        }
    }
}
