//! Registration in two phases. Store keeps a record beside the live one. Confirm makes it live and erases the old one's secrets in the same entry.
//!
//! Store alone does not change the live record. An attacker who drops replies so that the client repeats its messages gains no fresh budget.
//!
//! A client with the owner key may overwrite a live record in every state. That rescues an account whose last try is open, and unlocks a locked one.
//! Confirm sets the lifetime failures to zero: they count guesses at the old record, whose secrets the same entry erases. Only a client that has the
//! backup key can overwrite a live record. After an end no secret is left that an attacker could guess.

use crate::account::{Account, Live, Stored};
use crate::apply::ledgers;
use crate::apply::owned::check_owner;
use crate::apply::record::check_record;
use crate::apply::{Change, Changed, Step, missing};
use crate::bounds;
use crate::command::{Confirm, Store};
use crate::effect::Effect;
use crate::event::EventKind;
use crate::id::{Generation, Ordinal};
use crate::outcome::{Outcome, Refusal};
use crate::record::{Record, shares_hash};
use crate::statement::{self, Operation};

pub(crate) fn store(step: &Step<'_>, before: Option<Account>, c: &Store) -> Changed {
    let hash = c.record.hash();
    let shares = shares_hash(&c.shares);
    if let Some(known) = before.as_ref().and_then(|a| content(a, c)) {
        // The content of a stored reg_id never changes.
        return if known == (hash, shares) { Change::again(Outcome::Done) } else { Err(Refusal::Conflict) };
    }
    if before.is_none() && step.unconfirmed >= bounds::UNCONFIRMED {
        return Err(Refusal::TooMany);
    }
    let base = before.as_ref().map_or(Generation(0), |a| a.generation);
    check_record(step, c, base)?;
    if step.verifier.registration_response(c.z.expose(), &c.request).as_ref() != Some(&c.response) {
        return Err(Refusal::Proof);
    }
    // The response is z's, so the record names the key that z gives.
    if Record::server_key(&c.response) != Some(c.record.server) {
        return Err(Refusal::Proof);
    }
    if let Some(live) = before.as_ref().and_then(|a| a.live.as_ref()) {
        let signature = c.owner.as_ref().ok_or(Refusal::Owner)?;
        check_owner(step, live, signature, &Operation::Register(hash))?;
    }
    let mut account = before.unwrap_or_else(|| Account::new(c.route, step.at.time, step.at.index));
    let mut effects = Vec::new();
    if let Some(old) = account.stored.take() {
        effects.push(Effect::EraseSecrets { account: step.id, reg_id: old.record.reg_id });
        effects.push(step.event(&account, EventKind::Dropped));
    }
    let expires = step.at.time.plus(step.fleet.documents.policy.store_ms);
    account.stored = Some(Stored { record: c.record.clone(), hash, shares, expires, base });
    effects.push(Effect::KeepSecrets {
        account: step.id,
        reg_id: c.record.reg_id,
        z: c.z.clone(),
        shares: c.shares.clone(),
    });
    step.keep(account, Outcome::Done, effects)
}

pub(crate) fn confirm(step: &Step<'_>, before: Option<Account>, c: &Confirm) -> Changed {
    let Some(mut account) = before else { return Err(Refusal::NoKey) };
    if account.live.as_ref().is_some_and(|l| l.record.reg_id == c.reg_id) {
        let same = account.record_hash() == c.record;
        return if same { Change::again(Outcome::Done) } else { Err(Refusal::Conflict) };
    }
    let Some(stored) = account.stored.take_if(|s| s.record.reg_id == c.reg_id) else {
        return Err(missing(Some(&account)));
    };
    if step.is_past(stored.expires) {
        return Err(Refusal::Expired);
    }
    if stored.hash != c.record {
        return Err(Refusal::Conflict);
    }
    if stored.base != account.generation {
        return Err(Refusal::Stale);
    }
    let (lineage, era) = (&step.fleet.lineage, step.fleet.era);
    let statement = statement::confirm(lineage, era, &step.id, stored.base, &c.reg_id, &stored.hash);
    if !step.verifier.signature(&stored.record.owner, &statement, &c.signature) {
        return Err(Refusal::Owner);
    }
    check_acknowledgements(step, &stored, c)?;
    let mut effects = Vec::new();
    let old = account.live.take();
    ledgers::begin(step, &mut account, old.as_ref().map(|l| l.record.owner), &stored.record);
    if let Some(old) = old {
        // Once a replica has applied this entry it can't use the old registration any more.
        effects.push(Effect::EraseSecrets { account: step.id, reg_id: old.record.reg_id });
    }
    account.generation = stored.record.generation;
    account.ordinal = Ordinal(0);
    account.last_success = None;
    account.lifetime_failures = 0;
    account.pending = None;
    account.finished = None;
    account.finished_seed = None;
    account.failed = Vec::new();
    account.ended = None;
    account.next_allowed = step.at.time;
    account.live =
        Some(Live { hash: stored.hash, shares: stored.shares, record: stored.record, since: step.at.time });
    effects.push(step.event(&account, EventKind::Registered));
    step.keep(account, Outcome::Done, effects)
}

/// The hashes of what the account already has under this reg_id.
fn content(account: &Account, c: &Store) -> Option<(crate::id::Hash, crate::id::Hash)> {
    let stored = account.stored.as_ref().map(|s| (s.record.reg_id, s.hash, s.shares));
    let live = account.live.as_ref().map(|l| (l.record.reg_id, l.hash, l.shares));
    stored.into_iter().chain(live).find(|(id, ..)| *id == c.record.reg_id).map(|(_, h, s)| (h, s))
}

/// Checks that at least t different regions have signed that they stored this record and these shares.
fn check_acknowledgements(step: &Step<'_>, stored: &Stored, c: &Confirm) -> Result<(), Refusal> {
    let (lineage, era) = (&step.fleet.lineage, step.fleet.era);
    let statement = |slot| {
        let (record, shares) = (&stored.hash, &stored.shares);
        statement::acknowledgement(lineage, era, &c.reg_id, slot, record, shares, &c.subject)
    };
    let enough = step.signed_by(&c.acknowledgements, stored.record.threshold, statement);
    if enough { Ok(()) } else { Err(Refusal::Proof) }
}
