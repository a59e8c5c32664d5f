//! The CBOR encoding of values.

use minicbor::Encode;

/// The CBOR of a value. Encoding into memory fails only if a type's `Encode` returns an error of its own. Our types never do. A failure panics,
/// because the caller would store, sign or hash empty bytes as if they were the value.
#[allow(clippy::expect_used)] // see above
pub fn cbor<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("a type whose Encode fails")
}
