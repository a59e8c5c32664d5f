//! Who is calling: JWTs judged against a JWKS. Used twice, each with its own audience: by ChatD at its door and by the vault inside the
//! encrypted channel, so that ChatD can't use a person's ChatD token at the vault (S17).
//!
//! Algorithms are fixed here, never taken from a token: EdDSA (Ed25519), ES256, RS256. No error ever holds a piece of the token.
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "dev"))]
pub mod dev;
pub mod error;
pub mod keys;
pub mod refresh;
pub mod source;
pub mod verifier;

#[cfg(test)]
mod verifier_test;

pub use error::{KeysError, TokenError};
pub use refresh::{KeyRing, Refresh};
pub use source::KeySource;
pub use verifier::{Settings, Subject, Verifier};
