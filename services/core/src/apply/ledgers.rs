//! The writers' map: a compare-and-swap that the owner signs, and what goes with time.

use crate::account::{Account, Cause};
use crate::apply::owned::check_owner;
use crate::apply::{Change, Changed, Step, missing};
use crate::command::{ForgetWriter, SetLedger};
use crate::event::EventKind;
use crate::id::PublicKey;
use crate::outcome::{Outcome, Refusal};
use crate::record::Record;
use crate::secret::Secret32;
use crate::statement::Operation;
use crate::writers::{Before, GRACE_MS, MAX_RETIRED, MAX_WRITERS, RETIRED_MS, Retired, Writer};

pub(crate) fn set_ledger(step: &Step<'_>, before: Option<Account>, c: &SetLedger) -> Changed {
    let Some(mut account) = before else { return Err(Refusal::NoKey) };
    let Some(live) = &account.live else { return Err(missing(Some(&account))) };
    let place = account.writers.binary_search_by_key(&c.writer, |w| w.id);
    let known = place.ok().and_then(|i| account.writers.get(i));
    let done = known.is_some_and(|w| w.ledger == c.ledger && (c.v.is_none() || w.v == c.v));
    if done && account.last_operation == Some(c.owner.operation) {
        return Change::again(Outcome::Done);
    }
    check_owner(step, live, &c.owner, &Operation::SetLedger(c.naming()))?;
    // Compare and swap: of two devices with one writer's state the second is refused, and learns that it has a twin.
    if known.map(|w| w.ledger.hash) != c.expected {
        return Err(Refusal::OtherLedger);
    }
    if known.is_some_and(|w| c.ledger.counter <= w.ledger.counter) {
        return Err(Refusal::OldLedger);
    }
    match place {
        Ok(i) => {
            if let Some(w) = account.writers.get_mut(i) {
                w.ledger = c.ledger;
                w.forgotten = None;
                c.v.iter().try_for_each(|v| change_v(step, w, v))?;
            }
        }
        Err(_) if account.writers.len() >= MAX_WRITERS => return Err(Refusal::TooManyWriters),
        Err(i) => {
            let (id, ledger, v) = (c.writer, c.ledger, c.v.clone());
            account.writers.insert(i, Writer { id, ledger, v, before: None, forgotten: None });
        }
    }
    account.last_operation = Some(c.owner.operation);
    let effects = vec![step.event(&account, EventKind::Named)];
    step.keep(account, Outcome::Done, effects)
}

/// Each V that was in force stays for the grace time after it was replaced. So V changes at most once in that time, except back to the one before.
fn change_v(step: &Step<'_>, w: &mut Writer, v: &Secret32) -> Result<(), Refusal> {
    if w.v.as_ref() == Some(v) {
        return Ok(());
    }
    if let Some(kept) = w.before.as_ref().filter(|b| !step.is_past(b.until) && b.v != *v) {
        return Err(Refusal::VTooSoon(kept.until));
    }
    let until = step.at.time.plus(GRACE_MS);
    w.before = w.v.replace(v.clone()).map(|v| Before { v, until });
    Ok(())
}

/// The writer goes after the grace time, also one without V. A thief of the backup key must not destroy the V of every device at once, and an owner's signature on a ledger
/// that was named before must not fit again.
pub(crate) fn forget_writer(step: &Step<'_>, before: Option<Account>, c: &ForgetWriter) -> Changed {
    let Some(mut account) = before else { return Err(Refusal::NoKey) };
    let Some(live) = &account.live else { return Err(missing(Some(&account))) };
    let place = account.writers.binary_search_by_key(&c.writer, |w| w.id);
    let known = place.ok().and_then(|i| account.writers.get(i));
    if known.is_some_and(|w| w.forgotten.is_some()) && account.last_operation == Some(c.owner.operation) {
        return Change::again(Outcome::Done);
    }
    check_owner(step, live, &c.owner, &Operation::ForgetWriter(c.writer, c.expected))?;
    match known {
        None => return Change::again(Outcome::Done),
        Some(w) if w.ledger.hash != c.expected => return Err(Refusal::OtherLedger),
        Some(w) if w.forgotten.is_some() => return Change::again(Outcome::Done),
        Some(_) => {}
    }
    let until = step.at.time.plus(GRACE_MS);
    account.writers.iter_mut().filter(|w| w.id == c.writer).for_each(|w| w.forgotten = Some(until));
    account.last_operation = Some(c.owner.operation);
    step.keep(account, Outcome::Done, Vec::new())
}

/// Keeps the map for the owner of a key that ends. Without it ten wrong guesses by a thief of a token would destroy the backups too, and not only the vault's copy of the key.
pub(crate) fn end(step: &Step<'_>, account: &mut Account, owner: PublicKey, cause: Cause) {
    let kept_ms = match cause {
        Cause::Exhausted => RETIRED_MS,
        Cause::Deleted => GRACE_MS,
    };
    retire(step, account, owner, kept_ms);
}

/// The map of a registration that replaces the key of `old`, or comes after its end.
pub(crate) fn begin(step: &Step<'_>, account: &mut Account, old: Option<PublicKey>, record: &Record) {
    let new = record.owner;
    if old == Some(new) {
        return;
    }
    // First, because another map could push it out otherwise.
    let kept = account.retired.iter().position(|r| r.owner == new);
    let kept = kept.map(|i| account.retired.remove(i)).filter(|r| !step.is_past(r.until));
    if let Some(old) = old {
        retire(step, account, old, RETIRED_MS);
    }
    account.owner_since = kept.as_ref().map_or(record.generation, |r| r.since);
    account.writers = kept.map(|r| r.writers).unwrap_or_default();
}

fn retire(step: &Step<'_>, account: &mut Account, owner: PublicKey, kept_ms: u64) {
    let writers = std::mem::take(&mut account.writers);
    if writers.is_empty() {
        return;
    }
    let (until, since) = (step.at.time.plus(kept_ms), account.owner_since);
    account.retired.push(Retired { owner, writers, until, since });
    if account.retired.len() > MAX_RETIRED {
        // Keys that an attacker with a token registers after the owner's are younger, so they do not push out the owner's map.
        let youngest = account.retired.iter().enumerate().max_by_key(|(_, r)| r.since).map(|(i, _)| i);
        youngest.map(|i| account.retired.remove(i));
    }
}

/// Erases what is past its time.
pub(crate) fn expire(step: &Step<'_>, account: &mut Account) {
    account.retired.retain(|r| !step.is_past(r.until));
    let kept = account.writers.len();
    account.writers.retain(|w| w.forgotten.is_none_or(|until| !step.is_past(until)));
    let gone = u32::try_from(kept - account.writers.len()).unwrap_or(u32::MAX);
    account.forgotten = account.forgotten.saturating_add(gone);
    for retired in &mut account.retired {
        retired.writers.retain(|w| w.forgotten.is_none_or(|until| !step.is_past(until)));
    }
    account.retired.retain(|r| !r.writers.is_empty());
    let retired = account.retired.iter_mut().flat_map(|r| &mut r.writers);
    for w in account.writers.iter_mut().chain(retired) {
        w.before.take_if(|b| step.is_past(b.until));
    }
}
