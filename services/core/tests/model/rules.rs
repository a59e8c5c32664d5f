//! A second, simpler model of the account rules. An account is the list of its tries, and all counts follow from the list.

use std::collections::{BTreeMap, BTreeSet};

use super::fake::{ERA, Fake, LINEAGE, STORE_MS, response, server_key};
use bkv_core::account::{Account, Cause, State};
use bkv_core::command::{Begin, Command, Confirm, ForgetWriter, SetLedger, Store};
use bkv_core::document::Documents;
use bkv_core::id::{
    AccountId, AttemptId, Element, Generation, Hash, OperationId, Ordinal, PublicKey, RegId, Time, WriterId,
};
use bkv_core::record::{AttemptPolicy, Record, shares_hash};
use bkv_core::signature::OwnerSignature;
use bkv_core::statement::{self, Operation, Owned};
use bkv_core::verify::Verifier as _;
use bkv_core::writers::{Before, Retired, Writer};

const DAY: u64 = 24 * 3600 * 1000;

/// The model's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ModelAnswer {
    Done,
    Charged(u64),
    Again(u64),
    /// Refused, and counted.
    Conflict,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Open,
    Failed,
    Proved,
}

#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) id: AttemptId,
    pub(super) b: Element,
    cancel: Hash,
    until: Time,
    end: End,
    /// Begins under its id with another B.
    others: u32,
}

#[derive(Clone, Debug)]
struct Waiting {
    record: Record,
    shares: Hash,
    until: Time,
}

/// One account.
#[derive(Clone, Default, Debug)]
pub(super) struct ModelAccount {
    pub(super) generation: u64,
    pub(super) tries: Vec<Try>,
    pub(super) key: Option<Record>,
    key_shares: Option<Hash>,
    waiting: Option<Waiting>,
    failures: u32,
    not_before: Time,
    pub(super) writers: BTreeMap<WriterId, Writer>,
    retired: Vec<Retired>,
    forgotten: u32,
    owner_since: u64,
    gone: Option<Cause>,
    last_operation: Option<OperationId>,
}

/// The fields of an account that are compared with the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    state: State,
    generation: u64,
    ordinal: u64,
    success: u64,
    left: u32,
    lifetime_failures: u32,
    next_allowed: Time,
    open: Option<(AttemptId, Element, Time)>,
    live: Option<RegId>,
    stored: Option<(RegId, Time)>,
    writers: Vec<Writer>,
    retired: Vec<Retired>,
    forgotten: u32,
}

#[derive(Clone)]
pub(super) struct Model {
    pub(super) people: BTreeMap<AccountId, ModelAccount>,
    pub(super) documents: Documents,
}

impl ModelAccount {
    /// Number of tries since the last successful one.
    fn spent(&self) -> u32 {
        u32::try_from(self.tries.iter().rev().take_while(|t| t.end != End::Proved).count()).unwrap()
    }

    fn policy(&self) -> Option<&AttemptPolicy> {
        self.key.as_ref().map(|k| &k.attempts)
    }

    fn left(&self) -> u32 {
        self.policy().map_or(0, |p| p.max.saturating_sub(self.spent()))
    }

    pub(super) fn open(&self) -> Option<&Try> {
        self.tries.last().filter(|t| t.end == End::Open)
    }

    /// True for the ids of ended tries that the account must still refuse: the newest success, and as many failures as the budget.
    fn remembered(&self, id: &AttemptId) -> bool {
        let max = self.policy().map_or(0, |p| p.max) as usize;
        let failed = self.tries.iter().rev().filter(|t| t.end == End::Failed).take(max);
        let proved = self.tries.iter().rev().filter(|t| t.end == End::Proved).take(1);
        failed.chain(proved).any(|t| t.id == *id)
    }

    fn end_open(&mut self, end: End) {
        if let Some(t) = self.tries.last_mut().filter(|t| t.end == End::Open) {
            t.end = end;
        }
    }

    /// Ends the open try as failed. If no try is left, it was the last one and the key ends.
    fn fail(&mut self, time: Time) {
        let last = self.left() == 0;
        self.end_open(End::Failed);
        if last {
            self.remove(Cause::Exhausted, time);
        }
    }

    /// The map of a key that is gone waits for its owner. Of three that of the youngest key goes.
    fn retire(&mut self, owner: PublicKey, until: u64, since: u64) {
        let writers: Vec<Writer> = std::mem::take(&mut self.writers).into_values().collect();
        if !writers.is_empty() {
            self.retired.push(Retired { owner, writers, until: Time(until), since: Generation(since) });
        }
        while self.retired.len() > 2 {
            let youngest = self.retired.iter().map(|r| r.since).max().unwrap();
            let place = self.retired.iter().rposition(|r| r.since == youngest).unwrap();
            self.retired.remove(place);
        }
    }

    fn remove(&mut self, cause: Cause, time: Time) {
        self.end_open(End::Failed);
        if let Some(key) = self.key.take() {
            let kept = if cause == Cause::Deleted { 7 * DAY } else { 90 * DAY };
            self.retire(key.owner, time.0 + kept, self.owner_since);
        }
        self.key_shares = None;
        self.gone = Some(cause);
    }

    fn signed(&self, who: &AccountId, what: &Operation, by: &OwnerSignature, time: Time) -> bool {
        let Some(key) = &self.key else { return false };
        let owned = Owned {
            lineage: &LINEAGE,
            era: ERA,
            account: who,
            generation: Generation(self.generation),
            operation: &by.operation,
            expires: by.expires,
        };
        time <= by.expires && Fake.signature(&key.owner, &statement::owner(&owned, what), &by.signature)
    }

    pub(super) fn seen(&self) -> Seen {
        let proved = self.tries.iter().rposition(|t| t.end == End::Proved).map_or(0, |i| i + 1);
        let limit = self.policy().map_or(u32::MAX, |p| p.lifetime_failures);
        let state = match (&self.key, self.gone) {
            (Some(_), _) if self.open().is_some() && self.left() == 0 => State::LastTry,
            (Some(_), _) if self.failures >= limit => State::Locked,
            (Some(_), _) => State::Live,
            (None, Some(Cause::Exhausted)) => State::Destroyed,
            (None, Some(Cause::Deleted)) => State::Deleted,
            (None, None) => State::None,
        };
        Seen {
            state,
            generation: self.generation,
            ordinal: self.tries.len() as u64,
            success: proved as u64,
            left: self.left(),
            lifetime_failures: self.failures,
            next_allowed: self.not_before,
            open: self.open().map(|t| (t.id, t.b, t.until)),
            live: self.key.as_ref().map(|k| k.reg_id),
            stored: self.waiting.as_ref().map(|w| (w.record.reg_id, w.until)),
            writers: self.writers.values().cloned().collect(),
            retired: self.retired.clone(),
            forgotten: self.forgotten,
        }
    }
}

/// The machine's account as the model sees it.
pub(super) fn seen(account: Option<&Account>) -> Seen {
    let Some(a) = account else { return ModelAccount::default().seen() };
    Seen {
        state: a.state(),
        generation: a.generation.0,
        ordinal: a.ordinal.0,
        success: a.success_ordinal().0,
        left: a.tries_left(),
        lifetime_failures: a.lifetime_failures,
        next_allowed: a.next_allowed,
        open: a.pending.as_ref().map(|p| (p.attempt, p.blinded, p.deadline)),
        live: a.live.as_ref().map(|l| l.record.reg_id),
        stored: a.stored.as_ref().map(|s| (s.record.reg_id, s.expires)),
        writers: a.writers.clone(),
        retired: a.retired.clone(),
        forgotten: a.forgotten,
    }
}

impl Model {
    pub(super) fn answer(&mut self, time: Time, command: &Command) -> ModelAnswer {
        let documents = self.documents.clone();
        if let Command::Documents(new) = command {
            let Some(new) = Fake.documents(&LINEAGE, ERA, new, time) else { return ModelAnswer::No };
            let (old_a, old_p) = (&documents.admission, &documents.policy);
            let ok = (new.admission.number > old_a.number || new.admission == *old_a)
                && (new.policy.number > old_p.number || new.policy == *old_p);
            if ok {
                self.documents = new;
            }
            return if ok { ModelAnswer::Done } else { ModelAnswer::No };
        }
        let Some(who) = command.account() else { return ModelAnswer::No };
        let known = self.people.contains_key(&who);
        if !known && !matches!(command, Command::Store(_)) {
            return ModelAnswer::No;
        }
        let mut person = self.people.get(&who).cloned().unwrap_or_default();
        let answer = person.answer(&who, time, command, &documents);
        if answer != ModelAnswer::No {
            self.people.insert(who, person);
        }
        answer
    }
}

/// True if t regions permit this last try.
fn permitted(c: &Begin, time: Time, documents: &Documents) -> bool {
    let list = &documents.admission;
    let statement = c.permit(&LINEAGE, ERA, list.number);
    let good = c.permits.iter().filter(|p| Fake.region_signature(list, p, &statement, time));
    let slots: BTreeSet<_> = good.map(|p| p.slot).collect();
    c.permits.len() <= list.members.len() && slots.len() >= usize::from(list.threshold)
}

impl ModelAccount {
    /// Applies a command. If it returns No, it may have changed a part of the person, and the caller must drop the person.
    fn answer(
        &mut self,
        who: &AccountId,
        time: Time,
        command: &Command,
        documents: &Documents,
    ) -> ModelAnswer {
        match command {
            Command::Store(c) => self.store(who, time, c, documents),
            Command::Confirm(c) => self.confirm(who, time, c, documents),
            Command::Begin(c) => {
                let Some(policy) = self.policy().cloned() else { return ModelAnswer::No };
                if let Some(t) = self.open() {
                    if t.id == c.attempt {
                        let (same, last) = (t.b == c.blinded && t.cancel == c.cancel, self.left() == 0);
                        let this = (self.generation, self.tries.len() as u64);
                        let fine = (c.generation.0, c.ordinal.0) == this && permitted(c, time, documents);
                        if last && !fine {
                            return ModelAnswer::No;
                        }
                        return match (last, same) {
                            (true, _) if t.others >= 8 => ModelAnswer::No,
                            (_, true) => ModelAnswer::Again(self.tries.len() as u64),
                            (false, false) => ModelAnswer::No,
                            (true, false) => {
                                self.tries.last_mut().unwrap().others += 1;
                                ModelAnswer::Conflict
                            }
                        };
                    }
                    if self.left() == 0 {
                        return ModelAnswer::No; // the last try is open
                    }
                }
                let next = self.tries.len() as u64 + 1;
                let fine = !self.remembered(&c.attempt)
                    && (c.generation.0, c.ordinal.0) == (self.generation, next)
                    && self.failures < policy.lifetime_failures
                    && self.left() > u32::from(!c.may_be_last)
                    && time >= self.not_before
                    && c.blinded.0[0] != 0
                    && (self.left() > 1 || permitted(c, time, documents));
                if !fine {
                    return ModelAnswer::No;
                }
                self.end_open(End::Failed);
                self.tries.push(Try {
                    id: c.attempt,
                    b: c.blinded,
                    cancel: c.cancel,
                    until: Time(0),
                    end: End::Open,
                    others: 0,
                });
                let (spent, last) = (self.spent() as usize, self.left() == 0);
                let open_for = if last { policy.last_try_ms } else { policy.attempt_ms };
                self.tries.last_mut().unwrap().until = Time(time.0 + open_for);
                self.failures += 1;
                let wait = policy.waits_ms.get(spent - 1).or(policy.waits_ms.last()).copied().unwrap_or(0);
                self.not_before = Time(time.0 + wait);
                ModelAnswer::Charged(next)
            }
            Command::GiveUp(c) => {
                let fine = self.open().is_some_and(|t| {
                    t.id == c.attempt && t.cancel == statement::cancel_hash(c.cancel.expose())
                });
                if fine {
                    self.fail(time);
                }
                if fine { ModelAnswer::Done } else { ModelAnswer::No }
            }
            Command::Finish(c) => {
                let Some(key) = &self.key else { return ModelAnswer::No };
                let newest = self.tries.iter().rposition(|t| t.end == End::Proved);
                let open = self.tries.iter().rposition(|t| t.end == End::Open);
                let Some(place) =
                    [open, newest].into_iter().flatten().find(|i| self.tries[*i].id == c.attempt)
                else {
                    return ModelAnswer::No;
                };
                let t = &self.tries[place];
                if t.end == End::Open && time > t.until {
                    return ModelAnswer::No;
                }
                let context = statement::login_context(
                    &LINEAGE,
                    ERA,
                    who,
                    Generation(self.generation),
                    Ordinal(place as u64 + 1),
                    &t.id,
                    &t.b,
                );
                if Fake.finish(&key.upload, &context.0, &c.ke1, &c.ke2, &c.ke3).is_none() {
                    return ModelAnswer::No;
                }
                if t.end == End::Open {
                    self.end_open(End::Proved);
                    self.failures -= 1;
                    self.not_before = time;
                }
                ModelAnswer::Done
            }
            Command::Expire(_) => {
                let stored = self.waiting.as_ref().is_some_and(|w| time > w.until);
                let open = self.open().is_some_and(|t| time > t.until);
                if stored {
                    self.waiting = None;
                }
                let erased = self.erase(time);
                if open {
                    self.fail(time);
                }
                if stored || open || erased { ModelAnswer::Done } else { ModelAnswer::No }
            }
            Command::SetLedger(c) => {
                let done = self.key.is_some() && self.set_ledger(who, time, c);
                if done { ModelAnswer::Done } else { ModelAnswer::No }
            }
            Command::ForgetWriter(c) => {
                let done = self.key.is_some() && self.forget(who, time, c);
                if done { ModelAnswer::Done } else { ModelAnswer::No }
            }
            Command::Delete(c) => {
                if self.gone == Some(Cause::Deleted) && self.key.is_none() {
                    let same = self.last_operation == Some(c.owner.operation);
                    return if same { ModelAnswer::Done } else { ModelAnswer::No };
                }
                if !self.signed(who, &Operation::Delete, &c.owner, time) {
                    return ModelAnswer::No;
                }
                self.waiting = None;
                self.remove(Cause::Deleted, time);
                self.last_operation = Some(c.owner.operation);
                ModelAnswer::Done
            }
            Command::Init(_) | Command::Documents(_) | Command::Raise(_) => ModelAnswer::No,
        }
    }

    /// Erases what has had its time. True if there was anything.
    fn erase(&mut self, time: Time) -> bool {
        let before = (self.writers.clone(), self.retired.clone());
        let stays = |w: &Writer| w.forgotten.is_none_or(|until| time <= until);
        self.writers.retain(|_, w| stays(w));
        self.forgotten += u32::try_from(before.0.len() - self.writers.len()).unwrap();
        self.retired.retain(|r| time <= r.until);
        self.retired.iter_mut().for_each(|r| r.writers.retain(stays));
        self.retired.retain(|r| !r.writers.is_empty());
        let retired = self.retired.iter_mut().flat_map(|r| r.writers.iter_mut());
        for w in self.writers.values_mut().chain(retired) {
            w.before = w.before.take().filter(|b| time <= b.until);
        }
        before != (self.writers.clone(), self.retired.clone())
    }

    fn set_ledger(&mut self, who: &AccountId, time: Time, c: &SetLedger) -> bool {
        let known = self.writers.get(&c.writer).cloned();
        let done = known.as_ref().is_some_and(|w| w.ledger == c.ledger && (c.v.is_none() || c.v == w.v));
        if done && self.last_operation == Some(c.owner.operation) {
            return true;
        }
        let fits = self.signed(who, &Operation::SetLedger(c.naming()), &c.owner, time)
            && known.as_ref().map(|w| w.ledger.hash) == c.expected
            && known.as_ref().is_none_or(|w| w.ledger.counter < c.ledger.counter)
            && (known.is_some() || self.writers.len() < 16);
        let new = Writer { id: c.writer, ledger: c.ledger, v: None, before: None, forgotten: None };
        let mut w = Writer { ledger: c.ledger, forgotten: None, ..known.unwrap_or(new) };
        if c.v.is_some() && c.v != w.v {
            let kept = w.before.as_ref().filter(|b| time <= b.until);
            if kept.is_some_and(|b| Some(&b.v) != c.v.as_ref()) {
                return false;
            }
            let until = Time(time.0 + 7 * DAY);
            w.before = w.v.take().map(|v| Before { v, until });
            w.v.clone_from(&c.v);
        }
        if fits {
            self.writers.insert(c.writer, w);
            self.last_operation = Some(c.owner.operation);
        }
        fits
    }

    fn forget(&mut self, who: &AccountId, time: Time, c: &ForgetWriter) -> bool {
        let signed = self.signed(who, &Operation::ForgetWriter(c.writer, c.expected), &c.owner, time);
        let Some(w) = self.writers.get_mut(&c.writer) else { return signed };
        if w.forgotten.is_some() && self.last_operation == Some(c.owner.operation) {
            return true;
        }
        if !signed || w.ledger.hash != c.expected {
            return false;
        }
        if w.forgotten.is_none() {
            w.forgotten = Some(Time(time.0 + 7 * DAY));
            self.last_operation = Some(c.owner.operation);
        }
        true
    }

    fn store(&mut self, who: &AccountId, time: Time, c: &Store, documents: &Documents) -> ModelAnswer {
        let (r, policy) = (&c.record, &documents.policy);
        let shares = shares_hash(&c.shares);
        // The content of a stored registration never changes.
        if let Some(w) = self.waiting.as_ref().filter(|w| w.record.reg_id == r.reg_id) {
            return if w.record == *r && w.shares == shares { ModelAnswer::Done } else { ModelAnswer::No };
        }
        if let Some(k) = self.key.as_ref().filter(|k| k.reg_id == r.reg_id) {
            return if *k == *r && self.key_shares == Some(shares) {
                ModelAnswer::Done
            } else {
                ModelAnswer::No
            };
        }
        let n = documents.admission.members.len();
        let floor_ceiling = [
            (r.ksf.memory_kib, policy.ksf_floor.memory_kib, policy.ksf_ceiling.memory_kib),
            (r.ksf.passes, policy.ksf_floor.passes, policy.ksf_ceiling.passes),
            (r.ksf.lanes, policy.ksf_floor.lanes, policy.ksf_ceiling.lanes),
        ];
        let rules = [
            r.lineage == LINEAGE && r.era == ERA && r.account == *who,
            r.generation.0 == self.generation + 1,
            r.admission == documents.admission.number && r.policy == policy.number,
            r.threshold == documents.admission.threshold,
            r.commitments.len() == usize::from(documents.admission.threshold),
            r.commitments.iter().all(|e| Fake.element(e)),
            usize::from(r.slots) == n,
            c.shares.iter().map(|s| usize::from(s.slot.0)).eq(1..=n),
            c.shares.iter().all(|s| s.enc.len() <= 64 && s.ct.len() <= 96),
            r.upload.len() == 192 && r.upload[0] != 0xff,
            r.ciphertext.len() <= 256,
            r.attempts == policy.attempts,
            floor_ceiling.iter().all(|(v, low, high)| (low..=high).contains(&v)),
            !c.request.is_empty() && c.response == response(c.z.expose(), &c.request),
            r.server == server_key(c.z.expose()),
            self.key.is_none()
                || c.owner.is_some_and(|o| self.signed(who, &Operation::Register(r.hash()), &o, time)),
        ];
        if rules.contains(&false) {
            return ModelAnswer::No;
        }
        self.waiting = Some(Waiting { record: r.clone(), shares, until: Time(time.0 + STORE_MS) });
        ModelAnswer::Done
    }

    fn confirm(&mut self, who: &AccountId, time: Time, c: &Confirm, documents: &Documents) -> ModelAnswer {
        if let Some(k) = self.key.as_ref().filter(|k| k.reg_id == c.reg_id) {
            return if k.hash() == c.record { ModelAnswer::Done } else { ModelAnswer::No };
        }
        let Some(w) =
            self.waiting.take().filter(|w| w.record.reg_id == c.reg_id && w.record.hash() == c.record)
        else {
            return ModelAnswer::No;
        };
        let statement =
            statement::confirm(&LINEAGE, ERA, who, Generation(self.generation), &c.reg_id, &c.record);
        let owner: PublicKey = w.record.owner;
        let good = c.acknowledgements.iter().filter(|a| {
            let statement = statement::acknowledgement(
                &LINEAGE, ERA, &c.reg_id, a.slot, &c.record, &w.shares, &c.subject,
            );
            Fake.region_signature(&documents.admission, a, &statement, time)
        });
        let regions: BTreeSet<_> = good.map(|a| a.slot).collect();
        let fine = time <= w.until
            && w.record.generation.0 == self.generation + 1
            && c.acknowledgements.len() <= documents.admission.members.len()
            && regions.len() >= usize::from(w.record.threshold)
            && Fake.signature(&owner, &statement, &c.signature);
        if !fine {
            return ModelAnswer::No;
        }
        // A new registration resets everything.
        self.generation += 1;
        self.tries.clear();
        self.failures = 0;
        self.gone = None;
        self.not_before = time;
        self.key_shares = Some(w.shares);
        let old = self.key.take().map(|old| old.owner);
        if old != Some(owner) {
            let (own, others): (Vec<Retired>, _) =
                std::mem::take(&mut self.retired).into_iter().partition(|r| r.owner == owner);
            self.retired = others;
            if let Some(old) = old {
                self.retire(old, time.0 + 90 * DAY, self.owner_since);
            }
            self.owner_since = self.generation;
            for own in own.into_iter().filter(|r| time <= r.until) {
                self.owner_since = own.since.0;
                self.writers.extend(own.writers.into_iter().map(|w| (w.id, w)));
            }
        }
        self.key = Some(w.record);
        ModelAnswer::Done
    }
}
