//! Attempts. `Begin` charges a try, and only the client's proof in `Finish` gives tries back. A last try that fails destroys the key.

use crate::account::{Account, Cause, Pending, Success};
use crate::apply::{Change, Changed, Step, ledgers, missing};
use crate::command::{Begin, Finish, GiveUp};
use crate::effect::Effect;
use crate::event::EventKind;
use crate::id::{AttemptId, Element, Ordinal};
use crate::outcome::{Outcome, Refusal};
use crate::statement;

pub(crate) fn begin(step: &Step<'_>, before: Option<Account>, c: &Begin) -> Changed {
    let Some(mut account) = before else { return Err(Refusal::NoKey) };
    let Some(live) = account.live.clone() else { return Err(missing(Some(&account))) };
    if let Some(p) = &mut account.pending {
        if p.attempt == c.attempt {
            if p.is_spent() {
                return Err(Refusal::LastTryOpen(p.deadline));
            }
            if p.last {
                if (c.generation, c.ordinal) != (account.generation, p.ordinal) {
                    return Err(Refusal::Stale);
                }
                // A rooted leader without a valid token of the person could use up the conflicts. Permits are needed for the right B too: otherwise the answer
                // would reveal it to a thief of the device's file, uncounted.
                if !permitted(step, c) {
                    return Err(Refusal::Permits);
                }
            }
            // A repetition is free, because the client may have lost the reply. Another B under the same id would be a second guess.
            if p.blinded == c.blinded && p.cancel == c.cancel {
                return Change::again(Outcome::Begun { ordinal: p.ordinal, charged: false });
            }
            if !p.last {
                return Err(Refusal::Conflict);
            }
            p.conflicts = p.conflicts.saturating_add(1);
            return step.keep(account, Outcome::Refused(Refusal::Conflict), vec![]);
        }
        if p.last {
            return Err(Refusal::LastTryOpen(p.deadline));
        }
    }
    // An attempt that ended stays ended. A repeated Begin that arrives late must not be charged as a new attempt.
    if account.finished == Some(c.attempt) || account.failed.contains(&c.attempt) {
        return Err(Refusal::NoAttempt);
    }
    if c.generation != account.generation || Some(c.ordinal.0) != account.ordinal.0.checked_add(1) {
        return Err(Refusal::Stale);
    }
    let policy = &live.record.attempts;
    if account.lifetime_failures >= policy.lifetime_failures {
        return Err(Refusal::Locked);
    }
    if account.tries_left() == 0 {
        return Err(Refusal::Exhausted);
    }
    // The client may have seen more tries left than there are: another device can have used one since.
    if account.tries_left() == 1 && !c.may_be_last {
        return Err(Refusal::LastTry);
    }
    if step.at.time < account.next_allowed {
        return Err(Refusal::Wait(account.next_allowed));
    }
    if !step.verifier.element(&c.blinded) {
        return Err(Refusal::Element);
    }
    if account.tries_left() == 1 && !permitted(step, c) {
        return Err(Refusal::Permits);
    }
    let mut effects = Vec::new();
    if let Some(superseded) = account.pending.take() {
        remember_failed(&mut account, superseded.attempt);
        effects.push(step.event(&account, EventKind::Failed));
    }
    account.ordinal = c.ordinal;
    account.lifetime_failures = account.lifetime_failures.saturating_add(1);
    account.next_allowed = step.at.time.plus(policy.wait_after(account.failures()));
    let last = account.tries_left() == 0;
    account.pending = Some(Pending {
        attempt: c.attempt,
        ordinal: c.ordinal,
        blinded: c.blinded,
        cancel: c.cancel,
        seed: c.seed.clone(),
        deadline: step.at.time.plus(if last { policy.last_try_ms } else { policy.attempt_ms }),
        last,
        index: step.at.index,
        success_before: account.success_ordinal(),
        conflicts: 0,
    });
    effects.push(Effect::Floor { account: step.id });
    effects.push(step.event(&account, EventKind::Attempt));
    step.keep(account, Outcome::Begun { ordinal: c.ordinal, charged: true }, effects)
}

/// True if t regions permit this Begin of a last try. Each has verified the person's token for exactly this attempt and B, so a leader can't begin alone what
/// may destroy a key, nor count a conflict.
fn permitted(step: &Step<'_>, c: &Begin) -> bool {
    let admission = &step.fleet.documents.admission;
    let statement = c.permit(&step.fleet.lineage, step.fleet.era, admission.number);
    step.signed_by(&c.permits, admission.threshold, |_| statement.clone())
}

pub(crate) fn give_up(step: &Step<'_>, before: Option<Account>, c: &GiveUp) -> Changed {
    let Some(account) = before else { return Err(Refusal::NoKey) };
    let Some(pending) = account.pending.as_ref().filter(|p| p.attempt == c.attempt) else {
        return Err(if account.live.is_some() { Refusal::NoAttempt } else { missing(Some(&account)) });
    };
    // Without this check an attacker who saw an attempt id could end the owner's last try.
    if statement::cancel_hash(c.cancel.expose()) != pending.cancel {
        return Err(Refusal::Proof);
    }
    close(step, account)
}

/// Takes effect only if the entry time is past the deadline. A leader that proposes it early changes nothing.
pub(crate) fn expire(step: &Step<'_>, before: Option<Account>) -> Changed {
    let Some(mut account) = before else { return Err(Refusal::NoKey) };
    if account.deadline().is_none_or(|d| !step.is_past(d)) {
        return Err(Refusal::Stale);
    }
    let mut effects = Vec::new();
    if let Some(stored) = account.stored.take_if(|s| step.is_past(s.expires)) {
        effects.push(Effect::EraseSecrets { account: step.id, reg_id: stored.record.reg_id });
        effects.push(step.event(&account, EventKind::Dropped));
    }
    if account.is_unconfirmed() && account.stored.is_none() {
        return Ok(step.remove(Outcome::Done, effects));
    }
    ledgers::expire(step, &mut account);
    if account.pending.as_ref().is_some_and(|p| step.is_past(p.deadline)) {
        let mut change = close(step, account)?;
        effects.append(&mut change.effects);
        change.effects = effects;
        return Ok(change);
    }
    step.keep(account, Outcome::Done, effects)
}

/// Closes the pending attempt as failed. If it is the last try, this entry destroys the key on every replica.
fn close(step: &Step<'_>, mut account: Account) -> Changed {
    let closed = account.pending.take();
    let last = closed.as_ref().is_some_and(|p| p.last);
    if let Some(p) = closed {
        remember_failed(&mut account, p.attempt);
    }
    let mut effects = vec![step.event(&account, EventKind::Failed)];
    if let Some(live) = account.live.clone().filter(|_| last) {
        effects.extend(step.end(&mut account, &live, Cause::Exhausted));
    }
    step.keep(account, Outcome::Done, effects)
}

/// Keeps the id of a failed attempt. The ids of all failures since the newest success fit, because no more attempts than the budget can begin.
fn remember_failed(account: &mut Account, attempt: AttemptId) {
    let budget = account.live.as_ref().map_or(0, |l| l.record.attempts.max);
    account.failed.push(attempt);
    let surplus = account.failed.len().saturating_sub(usize::try_from(budget).unwrap_or(usize::MAX));
    account.failed.drain(..surplus);
}

pub(crate) fn finish(step: &Step<'_>, before: Option<Account>, c: &Finish) -> Changed {
    let Some(mut account) = before else { return Err(Refusal::NoKey) };
    let Some(live) = &account.live else { return Err(missing(Some(&account))) };
    let check = |ordinal: Ordinal, attempt: &AttemptId, blinded: &Element| {
        // This replica computes the signed context from its own state and never takes it from the leader.
        let context = statement::login_context(
            &step.fleet.lineage,
            step.fleet.era,
            &step.id,
            account.generation,
            ordinal,
            attempt,
            blinded,
        );
        step.verifier.finish(&live.record.upload, &context.0, &c.ke1, &c.ke2, &c.ke3).ok_or(Refusal::Proof)
    };
    // A repeated Finish changes nothing, but the leader sends the reply again. So the proof is checked again.
    if let Some(s) = account.last_success.as_ref().filter(|s| s.attempt == c.attempt) {
        check(s.ordinal, &s.attempt, &s.blinded)?;
        return Change::again(Outcome::Done);
    }
    let Some(pending) = account.pending.as_ref().filter(|p| p.attempt == c.attempt) else {
        return Err(Refusal::NoAttempt);
    };
    // Compare with entry time: a leader must not be able to keep an attempt open by never proposing Expire.
    if step.is_past(pending.deadline) {
        return Err(Refusal::Expired);
    }
    let (transcript, signature) = check(pending.ordinal, &pending.attempt, &pending.blinded)?;
    account.last_success = Some(Success {
        ordinal: pending.ordinal,
        attempt: pending.attempt,
        blinded: pending.blinded,
        transcript,
        signature,
    });
    account.finished = Some(c.attempt);
    account.finished_seed = Some(pending.seed.clone());
    account.pending = None;
    account.lifetime_failures = account.lifetime_failures.saturating_sub(1);
    account.next_allowed = step.at.time;
    debug_assert!(account.success_ordinal() <= account.ordinal && account.ordinal > Ordinal(0));
    let effects = vec![step.event(&account, EventKind::Recovered)];
    step.keep(account, Outcome::Done, effects)
}
