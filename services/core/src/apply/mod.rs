//! How each command changes an account, one file for each kind of command. Each function takes the account before the command. It returns the account
//! after it, or the reason why nothing changes.

pub(crate) mod attempt;
pub(crate) mod fleet;
pub(crate) mod ledgers;
pub(crate) mod owned;
pub(crate) mod record;
pub(crate) mod register;

use crate::account::{Account, Cause, Ended, Live};
use crate::effect::Effect;
use crate::event::{Event, EventKind};
use crate::fleet::{At, Fleet, signers};
use crate::id::{AccountId, Slot, Time};
use crate::outcome::{Outcome, Refusal};
use crate::signature::RegionSignature;
use crate::verify::Verifier;

/// The inputs of a command other than the account and the command itself.
pub(crate) struct Step<'a> {
    pub fleet: &'a Fleet,
    pub at: At,
    pub id: AccountId,
    pub verifier: &'a dyn Verifier,
    /// See [`crate::shard::Shard::unconfirmed`].
    pub unconfirmed: u32,
}

/// What becomes of the account's row.
pub(crate) enum Row {
    Same,
    Changed(Box<Account>),
    Removed,
}

/// The result of a command that was not refused.
pub(crate) struct Change {
    pub row: Row,
    pub outcome: Outcome,
    pub effects: Vec<Effect>,
}

pub(crate) type Changed = Result<Change, Refusal>;

impl Change {
    #[allow(clippy::unnecessary_wraps)] // returns `Changed`, so that callers can end with it
    fn again(outcome: Outcome) -> Changed {
        Ok(Self { row: Row::Same, outcome, effects: Vec::new() })
    }
}

impl Step<'_> {
    /// Records this entry's index in the account and reports the account's next deadline.
    #[allow(clippy::unnecessary_wraps)] // returns `Changed`, so that callers can end with it
    fn keep(&self, mut account: Account, outcome: Outcome, mut effects: Vec<Effect>) -> Changed {
        account.changed = self.at.index;
        effects.push(Effect::Deadline { account: self.id, at: account.deadline() });
        Ok(Change { row: Row::Changed(Box::new(account)), outcome, effects })
    }

    /// Removes an account of which nothing is left.
    fn remove(&self, outcome: Outcome, mut effects: Vec<Effect>) -> Change {
        effects.push(Effect::Deadline { account: self.id, at: None });
        Change { row: Row::Removed, outcome, effects }
    }

    fn event(&self, account: &Account, kind: EventKind) -> Effect {
        Effect::Event(Event {
            route: account.route,
            kind,
            at: self.at.time,
            state: account.state(),
            generation: account.generation,
            tries_left: account.tries_left(),
            next_allowed: account.next_allowed,
            since: account.live.as_ref().map(|l| l.since),
        })
    }

    /// Removes the live record for ever. The same entry erases its secrets.
    fn end(&self, account: &mut Account, live: &Live, cause: Cause) -> Vec<Effect> {
        let reg_id = live.record.reg_id;
        account.live = None;
        account.pending = None;
        account.finished_seed = None;
        ledgers::end(self, account, live.record.owner, cause);
        account.ended = Some(Ended { cause, at: self.at.time, reg_id });
        vec![Effect::EraseSecrets { account: self.id, reg_id }, self.event(account, EventKind::Ended(cause))]
    }

    /// True if at least `t` regions of the list in force have signed, each its own `statement`.
    fn signed_by(&self, signatures: &[RegionSignature], t: u8, statement: impl Fn(Slot) -> Vec<u8>) -> bool {
        let admission = &self.fleet.documents.admission;
        signers(admission, signatures, self.at.time, self.verifier, statement) >= usize::from(t)
    }

    fn is_past(&self, deadline: Time) -> bool {
        self.at.time > deadline
    }
}

/// The reason why the account has no live record.
pub(crate) fn missing(account: Option<&Account>) -> Refusal {
    match account.and_then(|a| a.ended.as_ref()).map(|e| e.cause) {
        Some(Cause::Exhausted) => Refusal::Destroyed,
        Some(Cause::Deleted) => Refusal::Deleted,
        None => Refusal::NoKey,
    }
}
