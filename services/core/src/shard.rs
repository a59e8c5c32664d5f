//! The state machine: one shard's replicated state and what a command does to it.

use minicbor::{Decode, Encode};

use crate::account::Account;
use crate::command::Command;
use crate::document::Documents;
use crate::effect::{Effect, Outcome};
use crate::id::{AccountId, Era, FleetId, Lineage, Time};
use crate::secret::Secret32;
use crate::verify::Verifier;

/// What a shard knows beside its accounts.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct Shard {
    /// None until Init.
    #[n(0)]
    pub fleet: Option<Fleet>,
    /// The largest entry time so far.
    #[n(1)]
    pub time: Time,
}

/// Whom the shard belongs to.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Fleet {
    /// Made at fleet init.
    #[n(0)]
    pub fleet: FleetId,
    /// Made at fleet init.
    #[n(1)]
    pub lineage: Lineage,
    /// Of this fleet.
    #[n(2)]
    pub era: Era,
    /// This shard's number.
    #[n(3)]
    pub shard: u16,
    /// The key of account ids.
    #[n(4)]
    pub index: Secret32,
    /// In force.
    #[n(5)]
    pub documents: Documents,
}

/// Where a command stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// Raft index of the entry.
    pub index: u64,
    /// Entry time, never lower than the one before.
    pub time: Time,
}

/// Accounts by id: the edge's store, with the changes of the batch so far in it.
pub trait Accounts {
    /// Why reading can fail.
    type Error;
    /// The account, if there is one.
    fn get(&mut self, id: &AccountId) -> Result<Option<Account>, Self::Error>;
    /// Replaces it.
    fn put(&mut self, id: &AccountId, account: Account) -> Result<(), Self::Error>;
}

/// What one command did.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// For whoever asked.
    pub outcome: Outcome,
    /// For the edge.
    pub effects: Vec<Effect>,
}
