//! The rows that a shard keeps beside its log, and how they are encoded.

use bkv_core::account::Account;
use bkv_core::encoding::cbor;
use bkv_core::id::Hash;
use bkv_core::shard::Shard;
use bkv_wire::proto::peer as p;
use openraft::{EmptyNode, StoredMembership};
use prost::Message as _;

use super::snapshot::Head;
use super::types::{LogId, Membership, log_id_in, log_id_out, membership_in, membership_out};
use crate::store::{Place, Row, Store, StoreError, Table};

pub(super) fn head_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"head")
}

pub(super) fn fleet_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"fleet")
}

pub(super) fn read<T: for<'a> minicbor::Decode<'a, ()>>(what: &str, row: &[u8]) -> Result<T, StoreError> {
    minicbor::decode(row).map_err(|e| StoreError::Malformed(what.into(), e.to_string()))
}

/// The cursor of an entry's nth event.
pub(super) const fn cursor(index: u64, n: u64) -> u64 {
    (index << 16) | n
}

/// The hash of an account's state. Voters are asked whether theirs has the same.
pub fn digest(account: Option<&Account>) -> Hash {
    let bytes = account.map(cbor).unwrap_or_default();
    bkv_core::hash::tagged("bkv/account-digest/1", &[&bytes])
}

/// The head of a shard as stored. The fleet has a row of its own, because it changes a thousand times less often.
pub(super) fn head(
    shard: &Shard,
    last: &LogId,
    chain: Hash,
    membership: &StoredMembership<u64, EmptyNode>,
) -> Head {
    Head {
        shard: Shard { fleet: None, ..shard.clone() },
        applied: log_id_out(last).encode_to_vec(),
        chain,
        membership: membership_out(membership.membership()).encode_to_vec(),
        membership_at: membership.log_id().map(|id| log_id_out(&id).encode_to_vec()).unwrap_or_default(),
    }
}

pub(crate) fn stored_membership(head: &Head) -> Result<StoredMembership<u64, EmptyNode>, prost::DecodeError> {
    let at =
        (!head.membership_at.is_empty()).then(|| p::LogId::decode(&head.membership_at[..])).transpose()?;
    let m: Membership = membership_in(&p::Membership::decode(&head.membership[..])?);
    Ok(StoredMembership::new(at.as_ref().map(log_id_in), m))
}

pub(super) fn all(store: &Store, table: Table, shard: u16) -> Result<Vec<Row>, StoreError> {
    let mut found: Vec<Row> = Vec::new();
    loop {
        let page = store.rows(table, shard, found.last().map(|(p, _)| p), 1024)?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}
