//! The last try: asks the user before it is used, and keeps it on the device, so that the device can go on with it after a crash.

use bkv_core::account::State;

use super::attempt::Attempt;
use super::{LastTry, LastTryWarning, RecoverOptions};
use crate::client::{Client, Entered};
use crate::error::Error;
use crate::fault::{Cause, Fault};
use crate::last_try::{KeepLastTry, OpenLastTry};
use crate::retry::DeadlinePause;

impl Client {
    /// S20: the leader signs the tries left over our nonce. (A rooted leader that lies here makes a user spend the last try without warning. It can
    /// use up tries anyway.)
    pub(super) fn consider_last_try(
        &self,
        entered: &Entered,
        attempt: &mut Attempt,
        options: &RecoverOptions<'_>,
        pause: &DeadlinePause,
    ) -> Result<(), Fault> {
        let Some(says) = entered.survey.good.iter().min_by_key(|a| a.tries_left) else {
            return Err(match entered.survey.wrong.first() {
                Some(wrong) => wrong.clone().into(),
                None => Fault::Repeat(Cause::Vault("the vault did not say how many tries are left".into())),
            });
        };
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
        attempt.agreed = true;
        if let (Some(keep), None) = (options.keep, &attempt.kept) {
            let lineage = entered.trusted.admission().lineage;
            let ksf = entered.trusted.policy().ksf_floor;
            let open = OpenLastTry::new(&self.runtime, lineage, entered.account, ksf);
            // Durable before its `Begin` leaves: a crash after that would end the key at the deadline.
            keep.keep(&open).map_err(Error::from)?;
            attempt.is_now(open)?;
        }
        Ok(())
    }

    /// True if t regions sign that the account has no open last try.
    pub(super) async fn no_last_try_is_open(&self) -> bool {
        let Ok((_, entered)) = self.enter(true, None).await else { return false };
        entered.agreed(|a| (a.state, a.generation)).is_ok_and(|a| a.state != State::LastTry)
    }

    /// Asks t regions whether the last try that this device kept can still be open. If not, it is wiped, and the attempt becomes one of its own: under the
    /// kept id an ordinary attempt would answer any number of guesses of a thief who has the file.
    pub(super) async fn resume(
        &self,
        attempt: &mut Attempt,
        options: &RecoverOptions<'_>,
    ) -> Result<(), Fault> {
        let (_, entered) = self.enter(true, None).await?;
        let says = entered.agreed(|a| (a.state, a.generation, a.tries_left))?;
        let lineage = entered.trusted.admission().lineage;
        let ours =
            attempt.kept.as_ref().is_some_and(|k| (k.lineage, k.account) == (lineage, entered.account));
        match (ours, says.state, says.tries_left) {
            (true, State::LastTry, _) => attempt.resumed = false,
            (true, State::Live, 1) => {
                // Its `Begin` was not charged, but may still arrive. So the id stays. The user is asked again, since the password may be another.
                (attempt.resumed, attempt.agreed, attempt.refused_last) = (false, false, true);
            }
            (true, ..) => {
                options.keep.map_or(Ok(()), KeepLastTry::wipe).map_err(Error::from)?;
                attempt.starts_anew(&self.runtime)?;
            }
            (false, ..) => attempt.starts_anew(&self.runtime)?,
        }
        Ok(())
    }
}
