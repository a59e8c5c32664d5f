//! The last try: asks the user before it is used, and keeps it on the device, so that the device can go on with it after a crash.

use bkv_core::account::State;
use bkv_core::statement::Attested;

use super::attempt::{Attempt, tries_left};
use super::{LastTry, LastTryWarning, RecoverOptions};
use crate::attested::Regions;
use crate::client::{Client, Entered};
use crate::error::Error;
use crate::fault::{Cause, Fault};
use crate::last_try::{KeepLastTry, OpenLastTry};
use crate::retry::DeadlinePause;

impl Client {
    /// S20: asks the user if t regions sign over our nonce that one try is left. The device keeps nothing before: under an ordinary attempt's number the file would be
    /// of no use, and would give its thief guesses. A rooted leader that claims more tries than are left causes no last try: the vaults refuse a `Begin` that
    /// would be the last and does not permit that.
    pub(super) fn consider_last_try(
        &self,
        entered: &Entered,
        attempt: &mut Attempt,
        options: &RecoverOptions<'_>,
        pause: &DeadlinePause,
    ) -> Result<(), Fault> {
        let says = entered.agreed(|a| (a.state, a.generation, a.ordinal, a.tries_left))?;
        if says.state != State::Live || says.tries_left != 1 {
            return Ok(());
        }
        let warning = LastTryWarning { account: entered.account, lifetime_failures: says.lifetime_failures };
        let agreed = match &options.last_try {
            LastTry::Decline => false,
            LastTry::Use => true,
            LastTry::Ask(ask) => pause.while_user_thinks(&*self.runtime.clock, || ask(&warning)),
        };
        if !agreed {
            return Err(Error::LastTryDeclined.into());
        }
        attempt.may_use_last_try = true;
        if let Some(keep) = options.keep.filter(|_| attempt.kept.is_none()) {
            let (list, policy) = (entered.trusted.admission(), entered.trusted.policy());
            // The record may set an earlier end than the policy in force. The answer to `Begin` has that end.
            let lasts = policy.attempts.last_try_ms;
            let open = OpenLastTry::new(&self.runtime, list.lineage, says, policy.ksf_floor, lasts);
            // Durable before its `Begin` leaves: a crash after that would end the key at the deadline.
            keep.keep(&open).map_err(Error::from)?;
            attempt.adopt(open)?;
        }
        Ok(())
    }

    /// True if t regions sign that this last try is over.
    pub(super) async fn is_over(&self, kept: &OpenLastTry) -> bool {
        let Ok((_, entered)) = self.enter(Regions::Threshold, None).await else { return false };
        t_sign(&entered, |a| kept.is_over(a))
    }

    /// Asks t regions whether the last try that this device kept can still be open. If t of them sign that it is over, it is wiped, and the attempt becomes one
    /// of its own: under the kept id an ordinary attempt would answer any number of guesses of a thief who has the file. A liar and a region that lags
    /// behind sign an earlier state. They end nothing: the try is over only by its own number or a later one.
    pub(super) async fn resume(
        &self,
        attempt: &mut Attempt,
        options: &RecoverOptions<'_>,
    ) -> Result<(), Fault> {
        let (_, entered) = self.enter(Regions::Threshold, None).await?;
        let lineage = entered.trusted.admission().lineage;
        let Some(kept) =
            attempt.kept.clone().filter(|k| (k.lineage, k.account) == (lineage, entered.account))
        else {
            return Ok(attempt.starts_anew(&self.runtime)?);
        };
        if t_sign(&entered, |a| kept.is_over(a)) {
            options.keep.map_or(Ok(()), KeepLastTry::wipe).map_err(Error::from)?;
            attempt.starts_anew(&self.runtime)?;
        } else if t_sign(&entered, |a| kept.is_open(a)) {
            attempt.resumed = false;
        } else if t_sign(&entered, |a| kept.is_next(a) || kept.may_be_late(a)) {
            // Its `Begin` was not charged but may still arrive, or arrived late. So the id stays. The user is asked again, since the password may be another.
            (attempt.resumed, attempt.may_use_last_try, attempt.refused_last) = (false, false, true);
        } else if t_sign(&entered, |a| kept.is_to_come(a)) {
            // Another device's success gave the tries back before it began. If these regions lag behind or lie, it is still open, and the file is still here.
            attempt.starts_anew(&self.runtime)?;
            attempt.superseded_kept = true;
        } else {
            entered.agreed(|a| (a.state, a.generation, a.ordinal))?;
            let answers = entered.survey.describe(&entered.trusted, |_| true);
            let why = format!("too few regions sign whether the last try of this device is open: {answers}");
            return Err(Fault::Repeat(Cause::Disagree(why)));
        }
        Ok(())
    }

    /// Updates the kept last try from the answer to its `Begin`: the number that t regions signed, and an earlier end than this device expects. Wipes
    /// the file if t regions signed that tries are left: another device's success came before this `Begin`, so it began an ordinary attempt.
    pub(super) fn update_kept(entered: &Entered, attempt: &mut Attempt, options: &RecoverOptions<'_>) {
        let (Some(keep), Some(kept), Some(statement)) =
            (options.keep, &attempt.kept, attempt.answers.statement.as_ref().map(|(s, _)| s))
        else {
            return;
        };
        if tries_left(statement) > 0 {
            // If it can't be wiped, the end of the attempt tries again.
            if keep.wipe().is_ok() {
                attempt.kept = None;
            }
            return;
        }
        let mut open = kept.clone();
        (open.generation, open.ordinal) = (statement.generation, statement.ordinal);
        if let Some(until) = attempt.until.map(|until| entered.clock.here(until)) {
            // One leader claims it. A later end would make the user wait too long.
            open.until = open.until.min(until);
        }
        if open != *kept {
            // If it can't be written, the file that was durable before the `Begin` stays. That ends no last try.
            let _ = keep.keep(&open);
            attempt.kept = Some(open);
        }
    }
}

fn t_sign(entered: &Entered, says: impl Fn(&Attested) -> bool) -> bool {
    entered.survey.good.iter().filter(|a| says(a)).count() >= entered.trusted.threshold()
}
