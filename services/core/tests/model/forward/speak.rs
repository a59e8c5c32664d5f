//! What an honest region signs for others, which may all be liars: the rules of the vault's `service`. It verifies the person's token itself, and speaks only from
//! its own state, once it is verified.

use bkv_core::account::Account;
use bkv_core::command::Begin;
use bkv_core::hash::tagged;
use bkv_core::id::{AccountId, AttemptId, Element, Hash, RegId, Slot, Time};
use bkv_core::record::Record;
use bkv_core::signature::RegionSignature;
use bkv_core::statement::{self, Attempt, Attested};
use bkv_core::view;

use super::super::fake::signed_by;
use super::super::fake::{ERA, LINEAGE};
use super::super::machine::account;
use super::fault::{Fault, is_back};
use super::install::Snapshot;
use super::replica::{Floor, Happened, Replica};
use super::secrets::{Kept, registrations};
use super::token::Token;

/// One region's evaluation of an attempt. The fake's β stands for β with its proof: everybody can make it, so only the call to an honest region counts.
#[derive(Clone, Debug)]
pub(super) struct Evaluation {
    pub(super) attempt: Attempt,
    pub(super) beta: Element,
    pub(super) by: RegionSignature,
}

pub(super) fn beta(attempt: &Attempt, slot: Slot) -> Element {
    let key = attempt.commitments.first().map_or([0; 32], |c| c.0);
    Element(tagged("fake/beta", &[&key, &attempt.record.0, &[slot.0], &attempt.blinded.0]).0)
}

/// The evaluation of this slot, signed by itself.
pub(super) fn evaluation(attempt: Attempt, slot: Slot, subject: &Hash) -> Evaluation {
    let beta = beta(&attempt, slot);
    let by = signed_by(slot, &statement::evaluation(&attempt, slot, &beta, subject));
    Evaluation { attempt, beta, by }
}

/// A person's token and the nonce of its session, as a leader shows both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) token: Token,
    pub(super) nonce: [u8; 32],
}

impl Shown {
    fn tag(&self) -> Hash {
        self.token.tag(&self.nonce)
    }
}

type Answer<T> = Result<T, &'static str>;

impl Replica {
    /// The account of the person, if this replica may speak of it.
    fn person(&self, shown: &Shown, now: Time) -> Answer<AccountId> {
        if !self.is_verified() && !is_back(Fault::Unverified) {
            return Err("not verified");
        }
        if !shown.token.is_valid(now) {
            return Err("the token");
        }
        Ok(account(shown.token.person))
    }

    pub(super) fn evaluate(&mut self, shown: &Shown, attempt: &AttemptId, now: Time) -> Answer<Evaluation> {
        let id = self.person(shown, now)?;
        let account = self.memory.0.get(&id).ok_or("no account")?;
        let pending = view::attempt(self.fleet(), &id, account).filter(|a| a.attempt == *attempt);
        let pending = pending.ok_or("not pending")?;
        let live = account.live.as_ref().ok_or("no key")?;
        let floor = self.floor(&id, account).ok_or("no floor")?;
        let of_floor = (floor.generation, floor.ordinal, floor.attempt, floor.blinded);
        if of_floor != (pending.generation, pending.ordinal, pending.attempt, pending.blinded) {
            return Err("another floor");
        }
        if let Some(previous) = floor.previous {
            let wait = live.record.attempts.wait_after(account.failures().saturating_sub(1));
            if now < previous.plus(wait) {
                return Err("the wait");
            }
        }
        let kept = self.secrets.get(&(id, live.record.reg_id)).ok_or("no secrets")?;
        if !kept.has_share(&live.hash, self.me) {
            return Err("no share");
        }
        let happened = Happened::Evaluated {
            account: id,
            record: Box::new(live.record.clone()),
            ordinal: pending.ordinal,
            element: pending.blinded,
        };
        self.floors.insert(id, floor);
        self.happened.push(happened);
        Ok(evaluation(pending, self.me, &shown.tag()))
    }

    /// The floor of the account. The open attempt of a certified snapshot becomes it.
    fn floor(&self, id: &AccountId, account: &Account) -> Option<Floor> {
        let floor = self.floors.get(id);
        let p = account.pending.as_ref()?;
        let Some((_, at)) = self.installed.filter(|(index, _)| p.index <= *index) else {
            return floor.cloned();
        };
        if let Some(f) = floor.filter(|f| (f.generation, f.ordinal) >= (account.generation, p.ordinal)) {
            return Some(f.clone());
        }
        Some(Floor {
            generation: account.generation,
            ordinal: p.ordinal,
            attempt: p.attempt,
            blinded: p.blinded,
            applied: at,
            previous: None,
        })
    }

    /// Permits a last try.
    pub(super) fn permit(&self, shown: &Shown, begin: &Begin, now: Time) -> Answer<RegionSignature> {
        let id = self.person(shown, now)?;
        let account = self.memory.0.get(&id).ok_or("no account")?;
        let is_next = account.generation == begin.generation && account.ordinal.0 + 1 == begin.ordinal.0;
        if id != begin.account || !is_next || account.tries_left() != 1 {
            return Err("not the last try");
        }
        let live = account.live.as_ref().ok_or("no key")?;
        let wait = live.record.attempts.wait_after(account.failures());
        if wait > 0 {
            let floor =
                self.floor(&id, account).or_else(|| self.floors.get(&id).cloned()).ok_or("no floor")?;
            if (floor.generation, floor.ordinal) != (account.generation, account.ordinal)
                || now < floor.applied.plus(wait)
            {
                return Err("the wait");
            }
        }
        Ok(signed_by(self.me, &begin.permit(&LINEAGE, ERA, self.fleet().documents.admission.number)))
    }

    pub(super) fn acknowledge(&self, shown: &Shown, reg_id: &RegId, now: Time) -> Answer<RegionSignature> {
        let id = self.person(shown, now)?;
        let account = self.memory.0.get(&id).ok_or("no account")?;
        let found = registrations(account).find(|(r, ..)| r.reg_id == *reg_id);
        let (record, hash, shares) = found.ok_or("no registration")?;
        let kept = self.secrets.get(&(id, *reg_id)).ok_or("no secrets")?;
        if !fits(kept, record) || !kept.has_share(hash, self.me) {
            return Err("z or share");
        }
        let statement =
            statement::acknowledgement(&LINEAGE, ERA, reg_id, self.me, hash, shares, &shown.tag());
        Ok(signed_by(self.me, &statement))
    }

    pub(super) fn attest(&self, shown: &Shown, now: Time) -> Answer<(Attested, RegionSignature)> {
        let id = self.person(shown, now)?;
        if !self.fleet().holds(&id) {
            return Err("another shard");
        }
        let account = self.memory.0.get(&id);
        let index = self.applied.at.index;
        let a = view::attested(self.fleet(), &id, account, shown.nonce, shown.tag(), self.me, index, now);
        let by = signed_by(self.me, &statement::attestation(&a));
        Ok((a, by))
    }

    /// Answers KE1. The fake's KE2 begins with the server's public key, and opens for the right password if it is that of the registration.
    pub(super) fn answer(&mut self, id: &AccountId, attempt: &AttemptId) -> Answer<Vec<u8>> {
        let account = self.memory.0.get(id).ok_or("no account")?;
        let (_, context) = view::login(self.fleet(), id, account, attempt).ok_or("not pending")?;
        let live = account.live.as_ref().ok_or("no key")?;
        let kept = self.secrets.get(&(*id, live.record.reg_id)).ok_or("no secrets")?;
        if !fits(kept, &live.record) {
            return Err("this region has another z");
        }
        let server = kept.server();
        if server != live.record.server {
            self.happened.push(Happened::AnsweredWithOtherZ { account: *id });
        }
        Ok([server.0, context.0].concat())
    }

    /// The newest certified snapshot. None before the first certificate.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let (certificate, reached) = self.certified.as_ref()?;
        let fleet = reached.fleet.as_ref().clone();
        Some(Snapshot { fleet, certificate: certificate.clone(), rows: reached.rows.as_ref().clone() })
    }
}

/// True if this z gives the server key that the record names.
pub(super) fn fits(kept: &Kept, record: &Record) -> bool {
    kept.server() == record.server || is_back(Fault::OtherZ)
}
