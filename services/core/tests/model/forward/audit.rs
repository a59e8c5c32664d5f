//! What must hold for people, whatever the liar sends. The audit keeps its own memory, which no restart, rollback or snapshot touches.

use std::collections::{BTreeMap, BTreeSet};

use bkv_core::account::{Account, Cause};
use bkv_core::id::{AccountId, AttemptId, Element, Hash, Ordinal, RegId, Slot};

use super::SHARDS;
use super::honest::Honest;
use super::person::Person;
use super::replica::{Happened, Replica};

/// What one region has done with one registration, in all shards together.
#[derive(Default)]
struct Guesses {
    /// The elements since the newest success, at any time and in any shard.
    since: BTreeSet<Element>,
    /// One element for each ordinal.
    at: BTreeMap<Ordinal, Element>,
    /// The newest success.
    success: Ordinal,
}

#[derive(Default)]
pub(super) struct Audit {
    /// What was broken first.
    pub(super) first: Option<(&'static str, String)>,
    guesses: BTreeMap<(Slot, Hash), Guesses>,
    /// Keys that were live at a region and are gone.
    erased: BTreeSet<(Slot, AccountId, RegId)>,
    /// Registrations that t regions called live, with an honest one of them.
    pub(super) acknowledged: BTreeSet<(Slot, u8, Hash)>,
    /// Records that their owner has agreed to end.
    pub(super) may_end: BTreeSet<Hash>,
    /// Last tries that an honest region has permitted, with the person's token.
    pub(super) permitted: BTreeSet<(AccountId, AttemptId, Element)>,
    /// Successes that the client has proved.
    pub(super) proved: BTreeSet<(Hash, Ordinal)>,
    /// Ledgers that the owner has signed: person and counter.
    pub(super) named: BTreeSet<(u8, u64)>,
}

impl Audit {
    pub(super) fn broken(&mut self, what: &'static str, detail: String) {
        if self.first.is_none() {
            self.first = Some((what, detail));
        }
    }

    /// Takes what a vault did in a step.
    pub(super) fn note(&mut self, slot: Slot, happened: Happened) {
        match happened {
            Happened::Evaluated { account, record, ordinal, element } => {
                if self.erased.contains(&(slot, account, record.reg_id)) {
                    self.broken("Revived", format!("region {slot} evaluates for a key that is gone there"));
                }
                let g = self.guesses.entry((slot, record.hash())).or_default();
                let one = *g.at.entry(ordinal).or_insert(element) == element;
                g.since.insert(element);
                let (count, budget) = (g.since.len(), record.attempts.max);
                if count > budget as usize {
                    let detail =
                        format!("region {slot} evaluates {count} elements of {account}, of {budget}");
                    self.broken("Budget", detail);
                }
                if !one {
                    let detail = format!("region {slot} evaluates two elements at ordinal {ordinal}");
                    self.broken("TwoGuesses", detail);
                }
            }
            Happened::Succeeded { record, ordinal } => {
                if !self.proved.contains(&(record, ordinal)) {
                    self.broken("Unproved", format!("region {slot} counts a success at {ordinal}"));
                }
                let g = self.guesses.entry((slot, record)).or_default();
                if ordinal > g.success {
                    g.success = ordinal;
                    g.since.clear();
                }
            }
            Happened::Erased { account, reg_id } => {
                self.erased.insert((slot, account, reg_id));
            }
            Happened::AnsweredWithOtherZ { account } => {
                self.broken("OtherZ", format!("region {slot} answers KE1 of {account} with another z"));
            }
            Happened::Contradicted => {
                self.broken("Contradicted", format!("t regions say that region {slot} is wrong"));
            }
        }
    }

    /// Looks at all shards of both honest vaults.
    pub(super) fn look(&mut self, honest: &Honest, people: &[Person]) {
        for shard in 0..SHARDS {
            for vault in 0..2 {
                let r = honest.replica(vault, shard);
                if r.is_verified() {
                    for person in people {
                        self.look_at(r, person);
                    }
                }
            }
            let (a, b) = (honest.replica(0, shard), honest.replica(1, shard));
            let same = a.applied == b.applied && (&a.memory, &a.shard) != (&b.memory, &b.shard);
            if same && a.is_verified() && b.is_verified() {
                self.broken("Differ", format!("shard {shard}: one history, two states"));
            }
        }
        let acknowledged = std::mem::take(&mut self.acknowledged);
        for (slot, who, hash) in &acknowledged {
            let person = &people[usize::from(*who)];
            let r = honest.replica(usize::from(slot.0) - 1, super::world::home(*who));
            let account = r.memory.0.get(&person.account());
            let is_live = account.map(Account::record_hash) == Some(*hash);
            // A majority that meets only in the liar: the other honest region, which never had this key, may have taken one of the liar's by the person's
            // token, and certified it with the liar. Known, and in the threat model: a higher generation has no proof.
            let replaced =
                account.is_some_and(|a| Some(a.generation) > person.key(hash).map(|k| k.record.generation));
            if r.is_verified() && !is_live && !replaced && !self.may_end.contains(hash) {
                self.broken("Lost", format!("region {slot} has lost the key of person {who}"));
            }
        }
        self.acknowledged = acknowledged;
    }

    fn look_at(&mut self, replica: &Replica, person: &Person) {
        let id = person.account();
        let Some(a) = replica.memory.0.get(&id) else { return };
        let (slot, who) = (replica.me, person.number);
        if let Some(t) = a.pending.as_ref().filter(|t| t.last)
            && !self.permitted.contains(&(id, t.attempt, t.blinded))
        {
            self.broken("LastTry", format!("region {slot}: the last try of person {who}, without a token"));
        }
        let exhausted = a.ended.as_ref().is_some_and(|e| e.cause == Cause::Exhausted);
        if exhausted && !self.permitted.iter().any(|(account, ..)| *account == id) {
            self.broken("Destroyed", format!("region {slot}: the key of person {who}, without a token"));
        }
        let Some(live) = &a.live else { return };
        let wait = live.record.attempts.waits_ms.iter().copied().max().unwrap_or(0);
        if a.next_allowed > replica.shard.time.plus(wait) {
            self.broken("Wait", format!("region {slot}: person {who} waits until {:?}", a.next_allowed));
        }
        if u64::from(a.lifetime_failures) > a.ordinal.0 {
            self.broken("Locked", format!("region {slot}: more failures of person {who} than attempts"));
        }
        // Keys of the person only: a key of the liar's own may have any secrets and ledgers.
        let Some(key) = person.key(&live.hash) else { return };
        if a.writers.iter().any(|w| !self.named.contains(&(who, w.ledger.counter))) {
            self.broken("Ledger", format!("region {slot}: a ledger that person {who} did not sign"));
        }
        match replica.secrets.get(&(id, live.record.reg_id)) {
            Some(kept) if kept.server() != key.server => {
                self.broken("OtherZ", format!("region {slot} holds another z of person {who}"));
            }
            Some(kept) if kept.has_share(&key.hash, slot) => {}
            _ => self.broken("NoShare", format!("region {slot} has no share of person {who}")),
        }
    }
}
