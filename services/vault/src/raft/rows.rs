//! The rows that a shard keeps beside its log, and how they are encoded.

use bkv_core::account::Account;
use bkv_core::checkpoint::Certificate;
use bkv_core::digest::{Digest, RowHash};
use bkv_core::encoding::cbor;
use bkv_core::fleet::Fleet;
use bkv_core::id::{AccountId, Hash};
use bkv_core::shard::Shard;
use bkv_wire::proto::peer as p;
use minicbor::{Decode, Encode};
use openraft::{EmptyNode, StoredMembership};
use prost::Message as _;

use super::types::{LogId, Membership, log_id_in, log_id_out, membership_in, membership_out};
use crate::store::{Place, Row, Store, StoreError, Table};

pub(super) fn head_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"head")
}

pub(super) fn fleet_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"fleet")
}

pub(super) fn digest_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"digest")
}

pub(super) fn certified_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"certified")
}

pub(super) fn read<T: for<'a> minicbor::Decode<'a, ()>>(what: &str, row: &[u8]) -> Result<T, StoreError> {
    minicbor::decode(row).map_err(|e| StoreError::Malformed(what.into(), e.to_string()))
}

/// Bytes of an account's row before the account: the head of a pair, and the id as a byte string.
const ROW_HEAD: usize = 1 + 2 + 32;

/// The row of an account, which is the pair of its id and the account, and the hash of that row.
pub(super) fn account_row(id: &AccountId, account: &Account) -> (Vec<u8>, RowHash) {
    let row = cbor(&(*id, account));
    let hash = RowHash::of_encoded(id, row.get(ROW_HEAD..).unwrap_or_default());
    (row, hash)
}

/// The cursor of an entry's nth event.
pub(super) const fn cursor(index: u64, n: u64) -> u64 {
    (index << 16) | n
}

/// The membership of a shard, as its log has it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InForce {
    /// Protobuf `Membership`.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub membership: Vec<u8>,
    /// Protobuf `LogId` of the membership's entry; empty if none.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub at: Vec<u8>,
}

impl InForce {
    pub(super) fn new(membership: &StoredMembership<u64, EmptyNode>) -> Self {
        Self {
            membership: membership_out(membership.membership()).encode_to_vec(),
            at: membership.log_id().map(|id| log_id_out(&id).encode_to_vec()).unwrap_or_default(),
        }
    }

    /// The digest of a state with this membership.
    pub(super) fn digest_with(&self, shard: u16, fleet: &Fleet, accounts: &Digest) -> Hash {
        accounts.of_state(shard, fleet, &[&self.membership, &self.at])
    }

    /// As openraft has it.
    pub(crate) fn stored(&self) -> Result<StoredMembership<u64, EmptyNode>, prost::DecodeError> {
        let at = (!self.at.is_empty()).then(|| p::LogId::decode(&self.at[..])).transpose()?;
        let m: Membership = membership_in(&p::Membership::decode(&self.membership[..])?);
        Ok(StoredMembership::new(at.as_ref().map(log_id_in), m))
    }
}

/// When and where a snapshot was installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Installed {
    /// The log index of the snapshot.
    #[n(0)]
    pub(super) index: u64,
    /// This vault's own clock at that moment.
    #[n(1)]
    pub(super) at_ms: u64,
}

/// The head of a shard as stored. The fleet has a row of its own, because it changes a thousand times less often.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Head {
    #[n(0)]
    pub(super) shard: Shard,
    /// Protobuf `LogId` of the last entry applied.
    #[cbor(n(1), with = "minicbor::bytes")]
    applied: Vec<u8>,
    /// The chain hash at that entry.
    #[n(2)]
    pub(super) chain: Hash,
    #[n(3)]
    pub(super) membership: InForce,
    /// The copy of the rows that is live.
    #[n(4)]
    pub(super) copy: u32,
    #[n(5)]
    pub(super) installed: Option<Installed>,
}

impl Head {
    pub(super) fn new(
        shard: &Shard,
        last: &LogId,
        chain: Hash,
        membership: &StoredMembership<u64, EmptyNode>,
        copy: u32,
        installed: Option<Installed>,
    ) -> Self {
        Self {
            shard: Shard { fleet: None, time: shard.time, unconfirmed: shard.unconfirmed },
            applied: log_id_out(last).encode_to_vec(),
            chain,
            membership: InForce::new(membership),
            copy,
            installed,
        }
    }

    pub(super) fn applied(&self) -> Result<LogId, prost::DecodeError> {
        Ok(log_id_in(&p::LogId::decode(&self.applied[..])?))
    }
}

/// The newest certified checkpoint, as stored.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct StoredCertificate {
    #[n(0)]
    pub(super) certificate: Certificate,
    #[n(1)]
    pub(super) membership: InForce,
}

/// The copy of a shard's rows that is live.
pub fn live_copy(store: &Store, shard: u16) -> Result<u32, StoreError> {
    let Some(row) = store.get(&head_place(shard))? else { return Ok(0) };
    Ok(read::<Head>("head", &row)?.copy)
}

/// All rows under a place.
pub(super) fn all(store: &Store, prefix: &Place) -> Result<Vec<Row>, StoreError> {
    let view = store.view()?;
    let mut found: Vec<Row> = Vec::new();
    loop {
        let page = view.rows_under(prefix, found.last().map(|(p, _)| p), 1024)?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

#[cfg(test)]
mod tests {
    use bkv_core::digest::RowNumbers;
    use bkv_core::id::{Route, Time};

    use super::*;

    /// S48: the row's hash is that of the account alone. A reader hashes the account, and a writer hashes its part of the row.
    #[test]
    fn s48_a_row_ends_with_the_account_alone() {
        let (id, account) = (AccountId([0xa5; 32]), Account::new(Route([7; 32]), Time(1), 2));
        let (row, hash) = account_row(&id, &account);
        assert_eq!(row[ROW_HEAD..], cbor(&account));
        let (mut by_row, mut by_account) = (Digest::default(), Digest::default());
        by_row.add(&hash.expand());
        by_account.add(&RowNumbers::of(&id, &account));
        assert_eq!(by_row, by_account);
    }
}
