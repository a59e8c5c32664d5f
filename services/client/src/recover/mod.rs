//! Recovers the key with the password, in one attempt, however often its messages must be repeated.

mod attempt;
mod evaluations;
mod finish;
mod last;
mod uncounted;

use std::time::Duration;

use bkv_core::id::AccountId;
use bkv_core::record::Record;
use bkv_core::writers::{AttestedWriter, LedgerName, Writer};
use bkv_crypto::password::Prepared;
use bkv_stream::BackupKey;
use bkv_wire::proto::inner::refused::Code;

use crate::attested::Regions;
use crate::client::{Client, Pipelined};
use crate::error::{Error, WrongAnswer};
use crate::fault::{Fault, unexpected};
use crate::last_try::KeepLastTry;
use crate::memory::{KeyName, MemoryError};
use crate::receipt::Receipt;
use crate::retry::DeadlinePause;
use crate::writers::newest_file;
use attempt::{Attempt, Stage};
pub use uncounted::Uncounted;

/// The warning before the last try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastTryWarning {
    /// Whose.
    pub account: AccountId,
    /// Failed attempts since the key was registered; a success gives back only its own.
    pub lifetime_failures: u32,
}

/// What to do when only one try is left.
#[derive(Clone, Copy, Default)]
pub enum LastTry<'a> {
    /// End with [`Error::LastTryDeclined`] before anything is charged.
    #[default]
    Decline,
    /// Use it.
    Use,
    /// Ask the user. True means to use it.
    Ask(&'a (dyn Fn(&LastTryWarning) -> bool + Send + Sync)),
}

impl std::fmt::Debug for LastTry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Decline => "Decline",
            Self::Use => "Use",
            Self::Ask(_) => "Ask",
        })
    }
}

/// Options of a recovery.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecoverOptions<'a> {
    /// What to do when only one try is left.
    pub last_try: LastTry<'a>,
    /// Leave a wrong last try open until its deadline instead of closing it. The key is destroyed either way, but until then a device that
    /// still has the key can set a new password.
    pub leave_last_try_open: bool,
    /// Past half of the lifetime limit: leave the registration as it is.
    pub no_renewal: bool,
    /// Where this device keeps its last try, so that it can go on with it after a crash. Without one, a crash in the last try ends the key at the try's
    /// deadline.
    pub keep: Option<&'a dyn KeepLastTry>,
}

/// Something that the user or the operator should know, though the recovery succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A region answered wrongly; another was used.
    Wrong(WrongAnswer),
    /// Many attempts have failed since the key was registered, so it was registered anew under the same password: the count starts again.
    Renewed(Receipt),
    /// This device could not remember which backup is the newest. It would not notice an older one that is served later.
    NotRemembered(MemoryError),
    /// This device could not wipe what it had kept of the last try. Whoever reads it has some guesses at the password.
    LastTryNotWiped(MemoryError),
    /// The renewal was due and failed. The key is as safe as before, and the next recovery tries again.
    RenewalFailed(Error),
}

/// The recovered key and its circumstances.
pub struct Recovered {
    /// The backup key.
    pub key: BackupKey,
    /// Whose.
    pub account: AccountId,
    /// The leader's signed confirmation that it counted the success.
    pub receipt: Receipt,
    /// The newest ledger of each writer, as t regions sign it. None if too few regions answered. [`Client::count`] asks again.
    pub named: Option<Vec<AttestedWriter>>,
    /// The same with V from the leader. None if it did not send what t regions sign: [`Client::read_ledgers`] asks again.
    pub writers: Option<Vec<Writer>>,
    /// Failed attempts since the key was registered; a success gives back only its own.
    pub lifetime_failures: u32,
    /// See [`Note`].
    pub notes: Vec<Note>,
    /// Set if t regions have not signed yet that the tries are back, or which ledgers are named after a renewal. Keep the key first, then call [`Client::count`].
    pub uncounted: Option<Uncounted>,
    /// What is left of [`Timing::deadline`](crate::Timing::deadline): the time for [`Client::count`], so that the whole keeps to the deadline.
    pub time_left: Duration,
    pub(crate) record: Record,
}

impl std::fmt::Debug for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovered")
            .field("account", &self.account)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl Recovered {
    /// The newest of the backups that are one file each.
    pub fn newest_file(&self) -> Option<LedgerName> {
        newest_file(self.named.as_deref().unwrap_or_default())
    }
}

impl Client {
    /// Proves the password and returns the key. Costs one try if and only if a vault applied `Begin`. The right password gives all tries back. If the
    /// recovery ends between the two, the error is [`Error::Unfinished`], which says whether the try is counted.
    ///
    /// Stretching (Argon2id) runs inside the returned future's poll: for as long as the policy says.
    pub async fn recover(&self, password: &str, options: RecoverOptions<'_>) -> Result<Recovered, Error> {
        let mut attempt = Attempt::new(&self.runtime, Prepared::new(password)?)?;
        if let Some(open) = options.keep.map(KeepLastTry::load).transpose()?.flatten() {
            attempt.adopt(open)?;
            attempt.resumed = true;
        }
        // A last try that is kept is first asked for, so that it is on the disk before its `Begin` leaves.
        attempt.may_use_last_try |= matches!(options.last_try, LastTry::Use) && options.keep.is_none();
        let with = &options;
        let retry = self.retry();
        let (deadline, pause) = (retry.deadline(), &retry.pause_of_deadline());
        let ended = retry
            .run_with(&mut attempt, |attempt| async move {
                let ended = self.recover_once(attempt, with, pause).await;
                (attempt, ended)
            })
            .await;
        let ended = ended.map_err(|e| attempt.explain(e));
        let over = match &ended {
            Ok(recovered) => recovered.uncounted.is_none(),
            Err(Error::WrongPassword { .. }) => true,
            // A leader's unsigned refusal must not wipe what the device needs to go on.
            Err(Error::Destroyed | Error::Deleted | Error::Superseded) => match &attempt.kept {
                Some(kept) => self.is_over(kept).await,
                None => false,
            },
            Err(_) => false,
        };
        let ours = attempt.kept.is_some() || (attempt.superseded_kept && ended.is_ok());
        let wiped = options.keep.filter(|_| over && ours).map_or(Ok(()), KeepLastTry::wipe);
        let mut recovered = ended?;
        recovered.notes.extend(wiped.err().map(Note::LastTryNotWiped));
        recovered.notes.extend(self.fleet.strangers().into_iter().map(Note::Wrong));
        let name = KeyName::new(&recovered.key, &self.fleet.root().lineage(), &recovered.account);
        let remembered = self.remember(&name, recovered.named.as_deref().unwrap_or_default());
        recovered.notes.extend(remembered.err().map(Note::NotRemembered));
        let time_left =
            || deadline.saturating_add(pause.length()).saturating_sub(self.runtime.clock.elapsed());
        let limit = recovered.record.attempts.lifetime_failures;
        if !options.no_renewal && recovered.lifetime_failures > limit / 2 {
            let in_time = self.limited(time_left());
            let renewed = in_time.renew(password, &recovered.key, recovered.record.ksf).await;
            recovered.notes.push(match renewed {
                Ok(registered) => {
                    // The new registration has all its tries. To count then only asks for the map.
                    recovered.uncounted.take_if(|_| recovered.named.is_some());
                    Note::Renewed(registered.receipt)
                }
                Err(e) => Note::RenewalFailed(e),
            });
        }
        recovered.time_left = time_left();
        Ok(recovered)
    }

    /// S29: from here on this device notices an older backup by itself, even if no vault is in reach.
    fn remember(&self, name: &KeyName, named: &[AttestedWriter]) -> Result<(), MemoryError> {
        let Some(newest) = crate::backup::newest(newest_file(named), None) else { return Ok(()) };
        self.fleet.memory().update(&mut |seen| seen.saw(name, newest))
    }

    /// Runs one session. It continues the attempt from its present stage, as far as possible.
    async fn recover_once(
        &self,
        attempt: &mut Attempt,
        options: &RecoverOptions<'_>,
        pause: &DeadlinePause,
    ) -> Result<Recovered, Fault> {
        if attempt.resumed {
            self.resume(attempt, options).await?;
        }
        // `Begin` does not wait for the number of tries left: unless it permits the last try, every replica refuses it if it would be that, free. Then the client
        // asks for the tries left and asks its user.
        let eager = attempt.may_use_last_try || !attempt.refused_last;
        let sent_before = attempt.begin_may_have_been_sent;
        let request = if eager { attempt.request(&self.runtime)? } else { None };
        let blind = matches!(attempt.stage, Stage::Blind);
        let mut elsewhere = false;
        let may_have_been_sent = if blind { &mut attempt.begin_may_have_been_sent } else { &mut elsewhere };
        let first = request.map(|operation| Pipelined { operation, may_have_been_sent });
        let regions = if eager { Regions::None } else { Regions::Threshold };
        let (mut session, entered) = self.enter(regions, first).await?;
        let mut pending = entered.pipelined;
        if !eager {
            self.consider_last_try(&entered, attempt, options, pause)?;
            attempt.refused_last = false;
        }
        loop {
            let id = match pending.take() {
                Some(id) => id,
                None => match attempt.request(&self.runtime)? {
                    Some(request) => {
                        attempt.begin_may_have_been_sent |= matches!(attempt.stage, Stage::Blind);
                        session.ask(request).await?
                    }
                    None => return Err(unexpected()),
                },
            };
            match attempt.stage {
                Stage::Blind => {
                    let evaluated = self.evaluations(&mut session, &entered, attempt, id).await;
                    // This refusal means that this message was not charged. An earlier one may still arrive.
                    if matches!(&evaluated, Err(Fault::Refused(r)) if r.code() == Code::LastTry) {
                        attempt.begin_may_have_been_sent = sent_before;
                        attempt.refused_last = true;
                    }
                    if attempt.kept.is_some()
                        && matches!(&evaluated, Err(Fault::Refused(r)) if r.code() == Code::Conflict)
                    {
                        return Err(Error::LastTryOtherPassword.into());
                    }
                    evaluated?;
                    Self::update_kept(&entered, attempt, options);
                }
                Stage::Exchange(_) => self.exchange(&mut session, &entered, attempt, id).await?,
                Stage::Proved(_) => return self.finished(&mut session, &entered, attempt, id).await,
                Stage::Wrong(_) => {
                    return Err(self.give_up(&mut session, &entered, attempt, id).await?.into());
                }
            }
            // Without the user's consent this client does not end a last try. A rooted leader may have made it one.
            if (options.leave_last_try_open || !attempt.may_use_last_try) && attempt.wrong_last() {
                return Err(attempt.wrong_password().unwrap_or(Error::Destroyed).into());
            }
        }
    }
}
