//! Snapshots. The state is in the store, so a local snapshot consists only of its head. A snapshot for another vault is read row by row. Its receiver
//! stages it in memory until every account in it has been judged.

use std::collections::HashSet;

use bkv_core::account::Account;
use bkv_core::id::{AccountId, Hash, RegId};
use bkv_core::record::SealedShare;
use bkv_core::secret::Secret32;
use bkv_core::shard::Shard;
use minicbor::{Decode, Encode};

/// The snapshot data that openraft passes around.
#[derive(Debug)]
pub enum SnapshotData {
    /// The local state, read from the store when needed.
    Local,
    /// A snapshot received from another vault.
    Received(Box<Received>),
}

/// A snapshot as received.
#[derive(Debug)]
pub struct Received {
    /// Shard, log position and membership.
    pub head: Head,
    /// All accounts.
    pub rows: Vec<Row>,
    /// Accounts whose state in `rows` was confirmed by t voters, asked directly.
    pub confirmed: HashSet<AccountId>,
}

/// The first part of a snapshot.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Head {
    /// The shard's state without its accounts.
    #[n(0)]
    pub shard: Shard,
    /// Protobuf `LogId` of the last entry applied.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub applied: Vec<u8>,
    /// The chain hash at that entry.
    #[n(2)]
    pub chain: Hash,
    /// Protobuf `Membership` in force.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub membership: Vec<u8>,
    /// Protobuf `LogId` of the membership's entry; empty if none.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub membership_at: Vec<u8>,
}

/// One account with the secrets of its registrations. z travels in the clear inside the TLS between vaults, and the receiver masks it anew. Shares
/// travel as the client sealed them.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Row {
    /// The account's id.
    #[n(0)]
    pub id: AccountId,
    /// The account as replicated.
    #[n(1)]
    pub account: Account,
    /// Secrets of its live and its stored registration.
    #[n(2)]
    pub secrets: Vec<RowSecrets>,
}

/// Secrets of one registration in a snapshot for another vault.
#[derive(Clone, Debug, Encode, Decode)]
pub struct RowSecrets {
    /// Id of the registration.
    #[n(0)]
    pub reg_id: RegId,
    /// z in the clear.
    #[n(1)]
    pub z: Secret32,
    /// The sealed shares that the sender holds.
    #[n(2)]
    pub shares: Vec<SealedShare>,
}
