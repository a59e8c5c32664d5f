//! One way to hash several fields: a label, then each field behind its length, so that no two inputs can run into each other.

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

/// The same framing as bytes, for what is signed rather than hashed.
pub fn framed(label: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + fields.iter().map(|f| f.len() + 8).sum::<usize>());
    for f in std::iter::once(label.as_bytes()).chain(fields.iter().copied()) {
        out.extend_from_slice(&(f.len() as u64).to_be_bytes());
        out.extend_from_slice(f);
    }
    out
}
