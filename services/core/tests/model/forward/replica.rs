//! One shard at one honest vault: log, state, and what its edge keeps. Applies entries as the edge does.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bkv_core::checkpoint::{Certificate, Checkpoint, Claims, is_checkpoint};
use bkv_core::command::Command;
use bkv_core::digest::{Digest, RowNumbers};
use bkv_core::effect::Effect;
use bkv_core::id::{AccountId, AttemptId, Element, Generation, Hash, Ordinal, RegId, Slot, Time};
use bkv_core::join::{Ballot, LogPosition};
use bkv_core::outcome::Outcome;
use bkv_core::record::Record;
use bkv_core::shard::{At, Fleet, Shard};

use super::super::fake::{ERA, Fake, LINEAGE};
use super::super::machine::Memory;
use super::log::{Entry, Log, Place};
use super::secrets::{Kept, Row, RowSecrets, registrations};

/// Own checkpoints that wait for signatures.
const OWN: usize = 4;

/// The only attempt of an account that this region may evaluate.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Floor {
    pub(super) generation: Generation,
    pub(super) ordinal: Ordinal,
    pub(super) attempt: AttemptId,
    pub(super) blinded: Element,
    pub(super) applied: Time,
    pub(super) previous: Option<Time>,
}

/// What the replica may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Joining,
    /// Until the log is here, with the chain hash that another voter has at an index.
    CatchingUp {
        until: LogPosition,
        applied: (u64, Hash),
    },
    Verified,
    Quarantined,
}

/// What the audit learns.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    Evaluated {
        account: AccountId,
        record: Box<Record>,
        ordinal: Ordinal,
        element: Element,
    },
    Succeeded {
        record: Hash,
        ordinal: Ordinal,
    },
    /// A key that was live is gone.
    Erased {
        account: AccountId,
        reg_id: RegId,
    },
    AnsweredWithOtherZ {
        account: AccountId,
    },
    Contradicted,
}

/// The state at a checkpoint, and the rows for a snapshot of it.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) checkpoint: Checkpoint,
    pub(super) fleet: Rc<Fleet>,
    pub(super) rows: Rc<Vec<Row>>,
}

#[derive(Clone)]
pub(super) struct Replica {
    pub(super) number: u16,
    pub(super) me: Slot,
    pub(super) log: Log,
    pub(super) vote: Ballot,
    /// The newest vote under which entries were removed.
    pub(super) truncated: Ballot,
    pub(super) shard: Shard,
    pub(super) memory: Memory,
    pub(super) applied: Place,
    pub(super) secrets: BTreeMap<(AccountId, RegId), Kept>,
    pub(super) floors: BTreeMap<AccountId, Floor>,
    /// The log is never truncated up to here.
    pub(super) highest_floor: u64,
    /// Index and time of the newest snapshot.
    pub(super) installed: Option<(u64, Time)>,
    pub(super) certified: Option<(Certificate, Reached)>,
    // The rest is lost in a restart.
    pub(super) phase: Phase,
    /// The term in which it leads.
    pub(super) leads: Option<u64>,
    pub(super) reached: VecDeque<Reached>,
    pub(super) claims: BTreeMap<(u64, Hash), Claims>,
    /// The answers to the entry that was applied last.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) happened: Vec<Happened>,
}

impl Replica {
    pub(super) fn new(number: u16, me: Slot) -> Self {
        Self {
            number,
            me,
            log: Log::new(),
            vote: Ballot::default(),
            truncated: Ballot::default(),
            shard: Shard::default(),
            memory: Memory::default(),
            applied: Place::START,
            secrets: BTreeMap::new(),
            floors: BTreeMap::new(),
            highest_floor: 0,
            installed: None,
            certified: None,
            phase: Phase::Verified,
            leads: None,
            reached: VecDeque::new(),
            claims: BTreeMap::new(),
            outcomes: Vec::new(),
            happened: Vec::new(),
        }
    }

    pub(super) fn fleet(&self) -> &Fleet {
        self.shard.fleet.as_ref().unwrap()
    }

    pub(super) fn is_verified(&self) -> bool {
        self.phase == Phase::Verified
    }

    /// Applies the log up to this index, or its end.
    pub(super) fn commit(&mut self, index: u64, now: Time) {
        while self.applied.at.index < index
            && let Some(entry) = self.log.entry(self.applied.at.index + 1)
        {
            self.apply(&entry, now);
        }
        self.caught_up();
    }

    fn apply(&mut self, entry: &Entry, now: Time) {
        let before = self.shard.time;
        let time = self.shard.advance(entry.batch.time);
        self.outcomes.clear();
        for command in &entry.batch.commands {
            let id = command.account();
            let live = id.and_then(|id| self.live(&id));
            let at = At { shard: self.number, index: entry.index, time };
            let applied = self.shard.apply(at, command, &mut self.memory, &Fake).unwrap();
            for effect in applied.effects {
                self.carry_out(effect, entry.index, now);
            }
            if let (Command::Finish(c), Outcome::Done) = (command, &applied.outcome) {
                self.has_succeeded(&c.account);
            }
            self.outcomes.push(applied.outcome);
            if let (Some(account), Some(reg_id)) = (id, live)
                && self.live(&account) != Some(reg_id)
            {
                self.happened.push(Happened::Erased { account, reg_id });
            }
        }
        self.applied = self.log.place(entry.index).unwrap();
        if self.shard.fleet.is_some()
            && is_checkpoint(entry.index, before, time, entry.batch.commands.is_empty())
        {
            self.reach();
        }
    }

    /// The live registration of an account.
    pub(super) fn live(&self, id: &AccountId) -> Option<RegId> {
        self.memory.0.get(id)?.live.as_ref().map(|l| l.record.reg_id)
    }

    pub(super) fn has_succeeded(&mut self, id: &AccountId) {
        let Some(account) = self.memory.0.get(id) else { return };
        let (Some(live), Some(success)) = (&account.live, &account.last_success) else { return };
        self.happened.push(Happened::Succeeded { record: live.hash, ordinal: success.ordinal });
    }

    fn carry_out(&mut self, effect: Effect, index: u64, now: Time) {
        match effect {
            Effect::KeepSecrets { account, reg_id, z, shares } => {
                self.secrets.insert((account, reg_id), Kept::new(&z, &shares));
            }
            Effect::EraseSecrets { account, reg_id } => {
                self.secrets.remove(&(account, reg_id));
                let live = self.memory.0.get(&account).filter(|a| a.live.is_some()).map(|a| a.generation);
                if self.floors.get(&account).is_some_and(|f| Some(f.generation) != live) {
                    self.floors.remove(&account);
                }
            }
            Effect::Floor { account } => {
                let a = &self.memory.0[&account];
                let Some(p) = &a.pending else { return };
                let before = self.floors.get(&account).filter(|f| f.generation == a.generation);
                // Attempts that came with a snapshot happened before it. The wait starts with it.
                let seen = before.is_some_and(|f| f.ordinal.0 + 1 >= p.ordinal.0);
                let installed = self.installed.filter(|_| !seen && p.ordinal.0 > 1);
                let previous = installed.map(|i| i.1).or_else(|| before.map(|f| f.applied));
                let floor = Floor {
                    generation: a.generation,
                    ordinal: p.ordinal,
                    attempt: p.attempt,
                    blinded: p.blinded,
                    applied: now,
                    previous,
                };
                self.highest_floor = self.highest_floor.max(index);
                self.floors.insert(account, floor);
            }
            Effect::Deadline { .. } | Effect::Event(_) => {}
        }
    }

    fn reach(&mut self) {
        let fleet = Rc::new(self.fleet().clone());
        let mut digest = Digest::default();
        self.memory.0.iter().for_each(|(id, a)| digest.add(&RowNumbers::of(id, a)));
        let checkpoint = Checkpoint {
            lineage: LINEAGE,
            era: ERA,
            shard: self.number,
            term: self.applied.at.term,
            leader: self.applied.leader,
            index: self.applied.at.index,
            chain: self.applied.chain,
            list: fleet.documents.admission.number,
            time: self.shard.time,
            rows: digest.rows(),
            digest: digest.of_state(self.number, &fleet, &[]),
            version: 12,
        };
        let rows = Rc::new(self.memory.0.keys().map(|id| self.row(id)).collect());
        if self.reached.len() >= OWN {
            self.reached.pop_front();
        }
        self.reached.push_back(Reached { checkpoint, fleet, rows });
    }

    /// A row for a snapshot, without this vault's own share, which no other vault can open.
    fn row(&self, id: &AccountId) -> Row {
        let account = self.memory.0[id].clone();
        let secret = |record: &Record| {
            let mut kept = self.secrets.get(&(*id, record.reg_id))?.clone();
            kept.shares.retain(|s| s.slot != self.me);
            Some(RowSecrets { reg_id: record.reg_id, kept })
        };
        let secrets = registrations(&account).filter_map(|(record, ..)| secret(record)).collect();
        Row { id: *id, account, secrets }
    }
}
