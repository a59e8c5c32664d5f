//! The rows of the log in the store.

use bkv_core::id::Hash;
use bkv_wire::proto::peer as p;
use prost::Message as _;

use super::types::{Entry, LogId, entry_in, entry_out, log_id_in, log_id_out};
use crate::store::StoreError;

pub(super) fn row_of(entry: &Entry, hash: &Hash) -> Vec<u8> {
    let mut row = hash.0.to_vec();
    // Encoding into a Vec can't fail.
    let _ = entry_out(entry).encode(&mut row);
    row
}

pub(super) fn read_row(row: &[u8]) -> Result<(Entry, Hash), StoreError> {
    let bad = |why: &str| StoreError::Malformed("log".into(), why.into());
    let (hash, entry) = row.split_first_chunk::<32>().ok_or_else(|| bad("short"))?;
    let entry = p::Entry::decode(entry).map_err(|e| bad(&e.to_string()))?;
    Ok((entry_in(entry).map_err(|e| bad(&e.to_string()))?, Hash(*hash)))
}

pub(super) fn tail_row(id: &LogId, hash: &Hash) -> Vec<u8> {
    let mut row = hash.0.to_vec();
    let _ = log_id_out(id).encode(&mut row);
    row
}

pub(super) fn read_tail(row: &[u8]) -> Result<(LogId, Hash), StoreError> {
    let bad = |why: &str| StoreError::Malformed("purged".into(), why.into());
    let (hash, id) = row.split_first_chunk::<32>().ok_or_else(|| bad("short"))?;
    let id = p::LogId::decode(id).map_err(|e| bad(&e.to_string()))?;
    Ok((log_id_in(&id), Hash(*hash)))
}
