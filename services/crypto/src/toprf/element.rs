//! Parses group elements and scalars, in one place, so that all inputs pass the same checks.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;

use super::ToprfError;

/// RFC 9497 §2.1 `DeserializeElement`: canonical, on the group, not the identity. (With the identity as B, β would not depend on the
/// share. With the identity as β, pw' would be the same for every password.)
pub(super) fn point(bytes: &[u8; 32]) -> Result<RistrettoPoint, ToprfError> {
    CompressedRistretto(*bytes).decompress().filter(|p| !p.is_identity()).ok_or(ToprfError::Element)
}

/// Refuses a non-canonical scalar. Accepts zero.
pub(super) fn scalar(bytes: &[u8; 32]) -> Result<Scalar, ToprfError> {
    Option::from(Scalar::from_canonical_bytes(*bytes)).ok_or(ToprfError::Scalar)
}

/// Canonical and not zero, as a key must be.
pub(super) fn key_scalar(bytes: &[u8; 32]) -> Result<Scalar, ToprfError> {
    scalar(bytes).and_then(|s| if s == Scalar::ZERO { Err(ToprfError::Scalar) } else { Ok(s) })
}

/// Is this a canonical encoding of an element other than the identity?
pub fn is_element(bytes: &[u8; 32]) -> bool {
    point(bytes).is_ok()
}
