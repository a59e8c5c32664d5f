//! How several fields are hashed or signed: a label, then each field after its length. So different fields never give the same bytes.

use sha2::{Digest, Sha256};

use crate::id::Hash;

/// SHA-256(len64(label) ‖ label ‖ len64(f₁) ‖ f₁ ‖ …), lengths big-endian.
pub fn tagged(label: &str, fields: &[&[u8]]) -> Hash {
    let mut h = Sha256::new();
    for f in std::iter::once(label.as_bytes()).chain(fields.iter().copied()) {
        h.update((f.len() as u64).to_be_bytes());
        h.update(f);
    }
    Hash(h.finalize().into())
}

/// The bytes that [`tagged`] hashes, for signatures.
pub fn framed(label: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + fields.iter().map(|f| f.len() + 8).sum::<usize>());
    for f in std::iter::once(label.as_bytes()).chain(fields.iter().copied()) {
        out.extend_from_slice(&(f.len() as u64).to_be_bytes());
        out.extend_from_slice(f);
    }
    out
}

/// What stands for an entry in the chain hash. The entry itself may have secrets, and a proof about a history must not.
pub fn entry_content(entry: &[u8]) -> Hash {
    tagged("bkv/entry/1", &[entry])
}

/// The chain hash at an entry, from the one before it and [`entry_content`]. Two logs with the same chain hash at an entry have the same history before it.
pub fn chain(before: &Hash, content: &Hash) -> Hash {
    tagged("bkv/chain/2", &[&before.0, &content.0])
}
