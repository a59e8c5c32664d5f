//! The one Ed25519 verifier of the project. Implementations differ on edge cases (cofactor, small order, non-canonical encodings), and
//! replicas that differ would fork: everything that checks an Ed25519 signature calls this.

use ed25519_dalek::{Signature, VerifyingKey};

/// RFC 8032 verification without the cofactor, refusing small-order keys and non-canonical encodings (`verify_strict`).
pub fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key)
        .is_ok_and(|k| k.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
