//! The machine under test: a shard with its accounts in memory and the secrets and deadlines that its edge would keep. After each entry it checks the
//! invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::fake::{ERA, Fake, LINEAGE, documents};
use bkv_core::account::{Account, State};
use bkv_core::command::{Command, Init, VERSION};
use bkv_core::effect::Effect;
use bkv_core::event::EventKind;
use bkv_core::id::{AccountId, AttemptId, Element, FleetId, RegId, Route, Time};
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::record::AttemptPolicy;
use bkv_core::secret::Secret32;
use bkv_core::shard::{Accounts, Applied, At, Fleet, Shard};

#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Memory(pub(super) BTreeMap<AccountId, Account>);

impl Accounts for Memory {
    type Error = Infallible;
    fn get(&mut self, id: &AccountId) -> Result<Option<Account>, Infallible> {
        Ok(self.0.get(id).cloned())
    }
    fn put(&mut self, id: &AccountId, account: Account) -> Result<(), Infallible> {
        self.0.insert(*id, account);
        Ok(())
    }
    fn remove(&mut self, id: &AccountId) -> Result<(), Infallible> {
        assert!(self.0.remove(id).is_some_and(|a| a.is_unconfirmed()), "only what was never confirmed goes");
        Ok(())
    }
}

/// Observations about one account.
#[derive(Clone, Default)]
struct Watched {
    /// Attempts charged since the newest success of this generation.
    charged: BTreeSet<(AttemptId, Element)>,
    /// Attempts answered since then, charged or repeated. A region might evaluate each of them.
    answered: BTreeSet<(AttemptId, Element)>,
}

#[derive(Clone)]
pub(super) struct Machine {
    pub(super) shard: Shard,
    pub(super) memory: Memory,
    pub(super) index: u64,
    /// Accounts and registrations whose secrets the edge stores.
    kept: BTreeSet<(AccountId, RegId)>,
    deadlines: BTreeMap<AccountId, Time>,
    watched: BTreeMap<AccountId, Watched>,
}

pub(super) fn route(who: u8) -> Route {
    Route([who; 32])
}

pub(super) fn account(who: u8) -> AccountId {
    AccountId::new(route(who).bucket(), &[who.wrapping_add(1); 32])
}

impl Machine {
    pub(super) fn new(attempts: &AttemptPolicy) -> Self {
        let mut m = Self {
            shard: Shard::default(),
            memory: Memory::default(),
            index: 0,
            kept: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            watched: BTreeMap::new(),
        };
        let init = Init {
            fleet: FleetId([1; 16]),
            lineage: LINEAGE,
            era: ERA,
            shard: 0,
            index: Secret32::new([3; 32]),
            documents: documents(1, attempts),
            version: VERSION,
        };
        let applied = m.run(Time(1), &Command::Init(init)).1;
        assert_eq!(applied.outcome, Outcome::Done);
        m
    }

    pub(super) fn fleet(&self) -> &Fleet {
        self.shard.fleet.as_ref().unwrap()
    }

    pub(super) fn account(&self, who: u8) -> Option<&Account> {
        self.memory.0.get(&account(who))
    }

    /// Applies one entry as the edge would, and checks the invariants that hold for every command.
    pub(super) fn run(&mut self, leader: Time, command: &Command) -> (Time, Applied) {
        let earlier = self.shard.time;
        let time = self.shard.advance(leader);
        assert!(time >= earlier, "S18: entry times never decrease");
        self.index += 1;
        let before = self.clone();
        let at = At { shard: 0, index: self.index, time };
        let applied = self.shard.apply(at, command, &mut self.memory, &Fake).unwrap();
        if let Some(counted) = before.conflict_counted(command, &applied.outcome) {
            assert_eq!(
                self.memory, counted,
                "a conflict of the last try is counted, and changes nothing else"
            );
        } else if matches!(applied.outcome, Outcome::Refused(_)) {
            assert!(applied.effects.is_empty(), "a refused command has no effects");
            assert_eq!(self.memory, before.memory, "a refused command changes nothing");
            assert_eq!(self.shard, before.shard, "a refused command changes nothing");
        }
        self.carry_out(&applied.effects);
        let unconfirmed = self.memory.0.values().filter(|a| a.is_unconfirmed()).count();
        assert_eq!(self.shard.unconfirmed as usize, unconfirmed, "the count of unconfirmed registrations");
        for (id, now) in &self.memory.0 {
            if command.account() != Some(*id) {
                assert_eq!(before.memory.0.get(id), Some(now), "one command, one account");
            }
        }
        if let Some(id) = command.account() {
            self.watch(&before, id, command, &applied, time);
        }
        (time, applied)
    }

    /// What the accounts become if the command was refused as a conflict of an open last try. None if it was not.
    fn conflict_counted(&self, command: &Command, outcome: &Outcome) -> Option<Memory> {
        let Command::Begin(begin) = command else { return None };
        if *outcome != Outcome::Refused(Refusal::Conflict) {
            return None;
        }
        let mut memory = self.memory.clone();
        let account = memory.0.get_mut(&begin.account)?;
        account.changed = self.index;
        account.pending.as_mut().filter(|p| p.last && p.attempt == begin.attempt)?.conflicts += 1;
        Some(memory)
    }

    fn carry_out(&mut self, effects: &[Effect]) {
        for e in effects {
            match e {
                Effect::KeepSecrets { account, reg_id, .. } => {
                    self.kept.insert((*account, *reg_id));
                }
                Effect::EraseSecrets { account, reg_id } => {
                    assert!(self.kept.remove(&(*account, *reg_id)), "erased what was not kept");
                }
                Effect::Deadline { account, at: Some(at) } => {
                    self.deadlines.insert(*account, *at);
                }
                Effect::Deadline { account, at: None } => {
                    self.deadlines.remove(account);
                }
                Effect::Floor { .. } | Effect::Event(_) => {}
            }
        }
    }

    fn watch(&mut self, before: &Self, id: AccountId, command: &Command, applied: &Applied, time: Time) {
        let Some(now) = self.memory.0.get(&id) else {
            // Nothing is left of what was never confirmed.
            assert!(!self.kept.iter().any(|(a, _)| *a == id) && !self.deadlines.contains_key(&id));
            return;
        };
        let was = before.memory.0.get(&id);
        // S13, S14: the edge stores only the secrets of the live and of the stored registration.
        let held: BTreeSet<RegId> = self.kept.iter().filter(|(a, _)| *a == id).map(|(_, r)| *r).collect();
        let wanted: BTreeSet<RegId> = (now.live.iter().map(|l| l.record.reg_id))
            .chain(now.stored.iter().map(|s| s.record.reg_id))
            .collect();
        assert_eq!(held, wanted, "S13: secrets of exactly what is live or stored");
        // The edge watches the earliest deadline.
        let deadline = (now.pending.iter().map(|p| p.deadline)).chain(now.stored.iter().map(|s| s.expires));
        let writers = now.writers.iter().chain(now.retired.iter().flat_map(|r| &r.writers));
        let deadline = deadline.chain(writers.clone().filter_map(|w| w.forgotten));
        let deadline = deadline.chain(writers.flat_map(|w| w.before.iter().map(|b| b.until)));
        let deadline = deadline.chain(now.retired.iter().map(|r| r.until)).min();
        assert!(now.writers.len() <= 16 && now.retired.len() <= 2, "the maps are bounded");
        assert_eq!(self.deadlines.get(&id).copied(), deadline, "the deadline that is watched");
        assert!(now.success_ordinal() <= now.ordinal, "last success above the ordinal");

        let changed = was.is_none_or(|w| w != now);
        let reported = applied.effects.iter().any(|e| matches!(e, Effect::Event(_)));
        assert!(!reported || changed, "an event without a change");

        let watched = self.watched.entry(id).or_default();
        let generation = was.map_or(0, |w| w.generation.0);
        assert!(now.generation.0 >= generation, "S13: a generation only grows");
        let new_generation = now.generation.0 > generation;
        if new_generation {
            assert!(matches!(command, Command::Confirm(_)), "S12: only Confirm makes a record live");
            assert_eq!(now.generation.0, generation + 1);
            let stored = was.and_then(|w| w.stored.as_ref()).expect("S12: stored before it is confirmed");
            assert_eq!(Some(stored.hash), now.live.as_ref().map(|l| l.hash), "S12: what was stored");
            *watched = Watched::default();
        }
        let Some(was) = was else { return };
        let same_generation = !new_generation;
        if same_generation {
            assert!(now.ordinal >= was.ordinal, "ordinal only grows");
            for w in &now.writers {
                let older = was.writers.iter().find(|o| o.id == w.id).is_some_and(|o| {
                    o.ledger.counter > w.ledger.counter
                        || (o.ledger.counter == w.ledger.counter && (o.ledger != w.ledger || o.v != w.v))
                });
                assert!(!older, "S29: a ledger goes back");
            }
        }
        assert!(new_generation || was.live.is_some() || now.live.is_none(), "S13: nothing lives again");

        // S15: only Finish gives tries back or subtracts a failure. A new registration begins without failures.
        assert!(same_generation || now.lifetime_failures == 0, "a registration that begins with failures");
        assert!(
            u64::from(now.lifetime_failures) >= now.failures(),
            "failures since the last success that are not counted"
        );
        assert!(u64::from(now.lifetime_failures) <= now.ordinal.0, "more failures than attempts");
        let refilled =
            now.lifetime_failures < was.lifetime_failures || now.success_ordinal() != was.success_ordinal();
        if same_generation && refilled {
            assert!(matches!(command, Command::Finish(_)), "S15: {command:?}");
            assert_eq!(
                now.lifetime_failures + 1,
                was.lifetime_failures,
                "S15: only its own charge is given back"
            );
            assert_eq!(now.last_success.as_ref().map(|s| s.attempt), was.pending.as_ref().map(|p| p.attempt));
            *watched = Watched::default();
        }
        let max = was.live.as_ref().map_or(0, |l| u64::from(l.record.attempts.max));
        if let (Command::Begin(c), Outcome::Begun { charged, .. }) = (command, &applied.outcome) {
            watched.answered.insert((c.attempt, c.blinded));
            if *charged {
                watched.charged.insert((c.attempt, c.blinded));
                assert!(time >= was.next_allowed, "S18: begun before the wait was over");
                assert!(was.state() == State::Live, "begun while {:?}", was.state());
                let floor = applied.effects.iter().any(|e| matches!(e, Effect::Floor { .. }));
                assert!(floor, "S08: a charge asks for its floor");
            } else {
                assert_eq!(was, now, "S11: the same again is free");
            }
        }
        assert!(watched.charged.len() as u64 <= max || max == 0, "S09: more guesses than the budget");
        assert!(watched.answered.len() <= watched.charged.len(), "S10: answered what was not charged");

        // S14: the machine reports the end of a key. Only a failed last try or the owner ends it.
        if was.live.is_some() && now.live.is_none() {
            let ended = applied
                .effects
                .iter()
                .any(|e| matches!(e, Effect::Event(e) if matches!(e.kind, EventKind::Ended(_))));
            assert!(ended, "S14: an end without its event");
            match command {
                Command::Delete(_) => {}
                Command::GiveUp(_) | Command::Expire(_) => assert_eq!(was.state(), State::LastTry),
                other => panic!("{other:?} ended a key"),
            }
        }
    }
}
