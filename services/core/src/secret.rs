//! Bytes that must not be shown and are wiped when dropped.

use std::fmt;

use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes, such as z, a seed or the index key. `Debug` shows no byte, equality takes constant time, and a drop wipes the bytes.
#[derive(Clone, Encode, Decode, Zeroize, ZeroizeOnDrop)]
#[cbor(transparent)]
pub struct Secret32(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl Secret32 {
    /// A secret of these bytes. The caller wipes its own copy.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one call that needs them.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(..)")
    }
}

impl PartialEq for Secret32 {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret32 {}
