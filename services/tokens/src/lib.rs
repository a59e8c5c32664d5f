//! Verifies JWTs against a JWKS. ChatD uses it at its public port, the vault inside the encrypted channel, each with its own audience: ChatD can't use a
//! client's ChatD token at the vault (S17).
//!
//! The algorithms are fixed here, never taken from a token: EdDSA (Ed25519), ES256, RS256. No error contains any part of a token.
#![forbid(unsafe_code)]

mod cache;
pub mod claims;
#[cfg(any(test, feature = "dev"))]
pub mod dev;
pub mod error;
pub mod keys;
pub mod refresh;
pub mod source;
pub mod verifier;

#[cfg(test)]
mod verifier_test;

pub use claims::{Claims, Subject};
pub use error::{KeysError, TokenError};
pub use refresh::{KeyRing, MAX_KEY_AGE, Refresh};
pub use source::KeySource;
pub use verifier::{Confirmation, Settings, Verifier, key_id};
