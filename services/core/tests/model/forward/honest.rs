//! The two honest vaults: elections, proposals and replication between them.

use std::collections::BTreeMap;
use std::rc::Rc;

use bkv_core::batch::Batch;
use bkv_core::command::{Command, VERSION};
use bkv_core::id::{NodeId, Slot, Time};
use bkv_core::join::Ballot;
use bkv_core::outcome::Outcome;

use super::append::Append;
use super::joining::LiarTold;
use super::log::{Entry, Place};
use super::replica::{Phase, Replica};
use super::{LIAR, SHARDS};

/// One honest vault. Cloned, it is an image of its disk.
#[derive(Clone)]
pub(super) struct Vault {
    pub(super) slot: Slot,
    pub(super) replicas: Vec<Replica>,
    /// What this vault, as leader, saw the other honest one acknowledge. Lost in a restart.
    pub(super) acknowledged: BTreeMap<u16, (Ballot, Place)>,
}

impl Vault {
    pub(super) fn new(slot: u8) -> Self {
        let replicas = (0..SHARDS).map(|s| Replica::new(s, Slot(slot))).collect();
        Self { slot: Slot(slot), replicas, acknowledged: BTreeMap::new() }
    }

    pub(super) fn node(&self) -> NodeId {
        NodeId(u64::from(self.slot.0))
    }

    pub(super) fn replica(&mut self, shard: u16) -> &mut Replica {
        &mut self.replicas[usize::from(shard)]
    }
}

/// The honest vaults and whether they reach each other.
pub(super) struct Honest {
    pub(super) vaults: [Vault; 2],
    pub(super) linked: bool,
}

impl Honest {
    pub(super) fn new() -> Self {
        Self { vaults: [Vault::new(1), Vault::new(2)], linked: true }
    }

    pub(super) fn replica(&self, vault: usize, shard: u16) -> &Replica {
        &self.vaults[vault].replicas[usize::from(shard)]
    }

    pub(super) fn replica_mut(&mut self, vault: usize, shard: u16) -> &mut Replica {
        self.vaults[vault].replica(shard)
    }

    /// The term in which the vault leads, perhaps after an election. `liar`: whether the liar votes for it.
    fn lead(&mut self, vault: usize, shard: u16, liar: bool) -> Result<u64, &'static str> {
        let (linked, node) = (self.linked, self.vaults[vault].node());
        let r = self.replica_mut(vault, shard);
        if !r.is_verified() {
            return Err("not verified");
        }
        if let Some(term) = r.leads {
            return Ok(term);
        }
        let ballot = Ballot { term: r.vote.term + 1, node };
        r.vote = ballot;
        let last = r.log.last().at;
        let other = self.replica_mut(1 - vault, shard);
        let may_vote = match other.phase {
            Phase::Verified => true,
            Phase::CatchingUp { until, .. } => last >= until,
            Phase::Joining | Phase::Quarantined => false,
        };
        if linked && may_vote && ballot > other.vote && last >= other.log.last().at {
            (other.vote, other.leads) = (ballot, None);
        } else if !liar {
            return Err("no majority elects it");
        }
        self.replica_mut(vault, shard).leads = Some(ballot.term);
        Ok(ballot.term)
    }

    /// Proposes one entry. `liar`: whether the liar votes and acknowledges.
    pub(super) fn propose(
        &mut self,
        vault: usize,
        shard: u16,
        commands: Vec<Command>,
        now: Time,
        liar: bool,
    ) -> Result<Vec<Outcome>, &'static str> {
        if commands.iter().any(|c| c.check_size().is_err()) {
            return Err("oversized");
        }
        let term = self.lead(vault, shard, liar)?;
        let node = self.vaults[vault].node();
        let r = self.replica_mut(vault, shard);
        let index = r.log.last().at.index + 1;
        r.log.push(Entry::new(term, node, index, Batch { version: VERSION, time: now, commands }));
        let followed = self.replicate(vault, shard, now);
        if !followed && !liar {
            return Err("no majority");
        }
        let r = self.replica_mut(vault, shard);
        r.commit(index, now);
        let outcomes = r.outcomes.clone();
        if followed {
            self.replicate(vault, shard, now);
        }
        Ok(outcomes)
    }

    /// This vault and the other honest one.
    fn pair(&mut self, vault: usize) -> (&mut Vault, &mut Vault) {
        let [a, b] = &mut self.vaults;
        if vault == 0 { (a, b) } else { (b, a) }
    }

    /// Sends the other vault what it lacks. True if it has all of the leader's log then.
    fn replicate(&mut self, vault: usize, shard: u16, now: Time) -> bool {
        if !self.linked {
            return false;
        }
        let from = self.vaults[vault].node();
        let (leader, follower) = self.pair(vault);
        let (l, f) = (leader.replica(shard), follower.replica(shard));
        let Some(term) = l.leads else { return false };
        if common(l, f).is_none()
            && let Some(snapshot) = l.snapshot()
        {
            // It fails if a row lacks its secrets, or if the follower finds a contradiction.
            let _ = f.receive(from, term, &snapshot, now);
        }
        let Some(previous) = common(l, f) else { return false };
        let entries: Vec<Rc<Entry>> =
            l.log.entries().filter(|e| e.index > previous.at.index).cloned().collect();
        let last: Place = l.log.last();
        let append = Append { from, term, previous, entries, committed: l.applied.at.index };
        if f.append(&append, now).is_err() {
            if f.vote > l.vote {
                l.leads = None;
            }
            return false;
        }
        leader.acknowledged.insert(shard, (Ballot { term, node: from }, last));
        true
    }

    /// The vault starts again, from this image of its disk if there is one.
    pub(super) fn restart(&mut self, vault: usize, image: Option<Vault>) {
        if let Some(image) = image {
            self.vaults[vault] = image;
        }
        self.vaults[vault].acknowledged.clear();
        self.vaults[vault].replicas.iter_mut().for_each(Replica::restart);
    }

    /// Every joining replica asks the others once.
    pub(super) fn join(&mut self, liar: LiarTold) {
        if !self.linked {
            return;
        }
        for vault in 0..2 {
            for shard in 0..SHARDS {
                let acknowledged = self.vaults[1 - vault].acknowledged.get(&shard).copied();
                let (joins, other) = self.pair(vault);
                let (joins, other) = (joins.replica(shard), &*other.replica(shard));
                if joins.phase == Phase::Joining {
                    joins.join(other, acknowledged, liar);
                }
            }
        }
    }

    /// True if the other vault has applied all that this one's floors stand on, so that it notices an older disk.
    pub(super) fn is_known_elsewhere(&self, vault: usize) -> bool {
        (0..SHARDS).all(|shard| {
            let (mine, other) = (self.replica(vault, shard), self.replica(1 - vault, shard));
            let floor = mine.highest_floor.max(mine.installed.map_or(0, |i| i.0)).max(mine.applied.at.index);
            let known = mine.log.place(floor).is_some_and(|p| other.log.place(floor) == Some(p));
            other.is_verified() && other.applied.at.index >= floor && known
        })
    }
}

/// The newest place that both logs have.
fn common(l: &Replica, f: &Replica) -> Option<Place> {
    let newest = l.log.last().at.index.min(f.log.last().at.index);
    (l.log.base()..=newest).rev().find_map(|i| l.log.place(i).filter(|p| f.log.place(i) == Some(*p)))
}

/// The liar's node.
pub(super) fn liar() -> NodeId {
    NodeId(u64::from(LIAR))
}
