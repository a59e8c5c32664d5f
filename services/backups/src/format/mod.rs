//! The format of decision record 19: bytes, keys, names and bounds. No I/O, no clock and no randomness.

pub mod head;
pub mod ledger;
pub mod manifest;
pub(crate) mod names;
pub(crate) mod sealed;
pub(crate) mod secret;
pub mod stream;
pub mod tree;

pub use names::{Folder, Tag};

/// Version of all objects. A change of a layout needs a new one.
pub const VERSION: u8 = 1;
/// Length of writer, series, generation and blob ids.
pub const ID: usize = 16;
/// Greatest object in bytes.
pub const MAX_OBJECT: u64 = 32 << 20;
/// Greatest manifest in bytes, before encryption.
pub const MAX_MANIFEST: usize = 1 << 20;
/// Greatest ledger in bytes, before encryption. Ten thousand generations take about 2 MiB.
pub const MAX_LEDGER: usize = 32 << 20;
/// Greatest record of a tree in bytes.
pub const MAX_RECORD: usize = 1 << 20;

/// A random 16-byte id.
pub type Id = [u8; ID];
/// SHA-256.
pub type Hash = [u8; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

/// Takes `N` bytes off the front.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*front)
}

#[cfg(test)]
#[path = "format_test.rs"]
pub(crate) mod format_test;
