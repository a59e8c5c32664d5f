//! The one way in which values become CBOR.

use minicbor::Encode;

/// The CBOR of a value. Encoding into memory fails only if a type's `Encode` reports an error of its own, which none of ours does. Empty bytes in its
/// place would be stored, signed or hashed as if they were the value, so a failure panics.
#[allow(clippy::expect_used)] // see above
pub fn cbor<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("a type whose Encode fails")
}
