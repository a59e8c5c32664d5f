//! The only Ed25519 check in the system. Implementations differ on edge cases, and replicas must not. So every replica, client and
//! tool verifies signatures here.

use ed25519_dalek::{Signature, VerifyingKey};

/// RFC 8032 §5.1.7, strict: canonical S, canonical encodings of A and R, neither of small order, no cofactor.
pub fn verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    canonical(public_key)
        && VerifyingKey::from_bytes(public_key)
            .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// True if a client may register this key. It must be on the curve, canonical, and not of small order, because one signature under a key of
/// small order is valid for many messages.
pub fn acceptable(public_key: &[u8; 32]) -> bool {
    canonical(public_key) && VerifyingKey::from_bytes(public_key).is_ok_and(|key| !key.is_weak())
}

/// dalek also decompresses y ≥ p, so two encodings would name one key. (R needs no such check, because it is compared as bytes.)
fn canonical(encoding: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = encoding;
    !(last & 0x7f == 0x7f && middle.iter().all(|b| *b == 0xff) && *first >= 0xed)
}

#[cfg(test)]
#[path = "ed25519_test.rs"]
mod tests;
