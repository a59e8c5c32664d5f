//! The vault's hardware token behind PKCS#11: a pool of sessions, the ceremony that makes the token's keys, and the few operations of a running vault
//! (ECDSA for TLS, HMAC for masks and data keys). Knows no accounts, records or Raft.
#![forbid(unsafe_code)]

mod backend;
mod capability;
mod ceremony;
mod counters;
mod encoding;
mod error;
mod health;
mod keys;
mod pin;
mod pkcs11;
mod pool;
#[cfg(feature = "softhsm-setup")]
pub mod softhsm;
mod tls;
mod token;

pub use bkv_config::{FieldError, TokenConfig};
pub use capability::{Capabilities, Capability, Destruction};
pub use ceremony::Ceremony;
pub use counters::{Op, OpCount, Outcome};
pub use error::{GoneReason, TokenError};
pub use health::Health;
pub use keys::{BadVaultName, KeyName, VaultName};
pub use token::Token;
