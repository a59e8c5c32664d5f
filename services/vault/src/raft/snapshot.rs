//! Snapshots. The state lies in the store, so one of our own is nothing but its head; one that is sent is read row by row and staged in memory by
//! whoever receives it, until every account in it has been judged.

use std::collections::HashSet;

use bkv_core::account::Account;
use bkv_core::id::{AccountId, Hash, RegId};
use bkv_core::record::SealedShare;
use bkv_core::secret::Secret32;
use bkv_core::shard::Shard;
use minicbor::{Decode, Encode};

/// What openraft passes around.
#[derive(Debug)]
pub enum SnapshotData {
    /// Our own state: read from the store when somebody needs it.
    Local,
    /// Somebody else's.
    Received(Box<Received>),
}

/// A snapshot as it came in.
#[derive(Debug)]
pub struct Received {
    /// Beside the accounts.
    pub head: Head,
    /// All accounts.
    pub rows: Vec<Row>,
    /// Those that t voters, asked directly, have confirmed as they stand here.
    pub confirmed: HashSet<AccountId>,
}

/// What a snapshot begins with.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Head {
    /// The shard beside its accounts.
    #[n(0)]
    pub shard: Shard,
    /// Protobuf `LogId` of the last entry applied.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub applied: Vec<u8>,
    /// The chain hash there.
    #[n(2)]
    pub chain: Hash,
    /// Protobuf `Membership` in force.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub membership: Vec<u8>,
    /// Protobuf `LogId` of its entry; empty if none.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub membership_at: Vec<u8>,
}

/// One account with the secrets of its registrations. z travels in the clear inside the vaults' TLS and is masked anew; shares travel as the
/// client sealed them.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Row {
    /// Whose.
    #[n(0)]
    pub id: AccountId,
    /// As replicated.
    #[n(1)]
    pub account: Account,
    /// Of its live and its stored registration.
    #[n(2)]
    pub secrets: Vec<RowSecrets>,
}

/// Secrets of one registration on the way to another vault.
#[derive(Clone, Debug, Encode, Decode)]
pub struct RowSecrets {
    /// Which.
    #[n(0)]
    pub reg_id: RegId,
    /// In the clear.
    #[n(1)]
    pub z: Secret32,
    /// Those that the sender holds sealed.
    #[n(2)]
    pub shares: Vec<SealedShare>,
}
