//! The state machine: one shard's replicated state and how a command changes it.

use minicbor::{Decode, Encode};

use crate::account::Account;
use crate::apply;
use crate::command::Command;
use crate::id::{AccountId, Time};
use crate::outcome::Refusal;
use crate::verify::Verifier;

pub use crate::apply::owned::owner_signed;
pub use crate::effect::Applied;
pub use crate::fleet::{At, Fleet};

/// The state of a shard without its accounts.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct Shard {
    /// None before `Init`.
    #[n(0)]
    pub fleet: Option<Fleet>,
    /// The largest entry time so far.
    #[n(1)]
    pub time: Time,
    /// The number of accounts whose first registration is not confirmed.
    #[n(2)]
    pub unconfirmed: u32,
}

/// Accounts by id in the edge's store. `get` already returns the changes of earlier commands of the batch.
pub trait Accounts {
    /// An error of the store.
    type Error;
    /// The account, if there is one.
    fn get(&mut self, id: &AccountId) -> Result<Option<Account>, Self::Error>;
    /// Replaces the account.
    fn put(&mut self, id: &AccountId, account: Account) -> Result<(), Self::Error>;
    /// Removes the account.
    fn remove(&mut self, id: &AccountId) -> Result<(), Self::Error>;
}

impl Shard {
    /// The time of the next entry: the leader's, but never earlier than the last entry time. So a leader can't make a deadline later by setting its
    /// clock back.
    pub fn advance(&mut self, leader_time: Time) -> Time {
        self.time = self.time.max(leader_time);
        self.time
    }

    /// Applies one command. A command that is refused, or that fails to read the store, changes nothing.
    pub fn apply<A: Accounts>(
        &mut self,
        at: At,
        command: &Command,
        accounts: &mut A,
        verifier: &dyn Verifier,
    ) -> Result<Applied, A::Error> {
        match command {
            Command::Init(c) => return Ok(apply::fleet::init(&mut self.fleet, at, c, verifier)),
            Command::Documents(c) => return Ok(apply::fleet::documents(&mut self.fleet, at, c, verifier)),
            Command::Raise(c) => return Ok(apply::fleet::raise(&mut self.fleet, at, c, verifier)),
            _ => {}
        }
        let Some(fleet) = &self.fleet else { return Ok(Applied::refused(Refusal::NotInitialised)) };
        let Some(id) = command.account() else { return Ok(Applied::refused(Refusal::NotInitialised)) };
        if !fleet.holds(&id) {
            return Ok(Applied::refused(Refusal::Elsewhere));
        }
        let before = accounts.get(&id)?;
        let was = before.as_ref().is_some_and(Account::is_unconfirmed);
        let step = apply::Step { fleet, at, id, verifier, unconfirmed: self.unconfirmed };
        let change = match command {
            Command::Store(c) => apply::register::store(&step, before, c),
            Command::Confirm(c) => apply::register::confirm(&step, before, c),
            Command::Begin(c) => apply::attempt::begin(&step, before, c),
            Command::GiveUp(c) => apply::attempt::give_up(&step, before, c),
            Command::Finish(c) => apply::attempt::finish(&step, before, c),
            Command::Expire(_) => apply::attempt::expire(&step, before),
            Command::SetLedger(c) => apply::ledgers::set_ledger(&step, before, c),
            Command::ForgetWriter(c) => apply::ledgers::forget_writer(&step, before, c),
            Command::Delete(c) => apply::owned::delete(&step, before, c),
            Command::Init(_) | Command::Documents(_) | Command::Raise(_) => Err(Refusal::NotInitialised),
        };
        let apply::Change { row, outcome, effects } = match change {
            Ok(change) => change,
            Err(why) => return Ok(Applied::refused(why)),
        };
        let is = match row {
            apply::Row::Same => was,
            apply::Row::Changed(account) => {
                let is = account.is_unconfirmed();
                accounts.put(&id, *account)?;
                is
            }
            apply::Row::Removed => {
                accounts.remove(&id)?;
                false
            }
        };
        match (was, is) {
            (false, true) => self.unconfirmed = self.unconfirmed.saturating_add(1),
            (true, false) => self.unconfirmed = self.unconfirmed.saturating_sub(1),
            _ => {}
        }
        Ok(Applied { outcome, effects })
    }
}
