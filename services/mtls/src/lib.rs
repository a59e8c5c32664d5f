//! Mutual TLS between the parts that are not vault-to-vault, and the plain HTTPS of ChatD's public listener.
//!
//! TLS 1.3 only, aws-lc only. Who a peer is stands in one URI SAN, `bkv://role/<role>/<name>`, under the deployment's role CA; DNS names
//! are not looked at, so a redirected Service or a certificate of another role gets nowhere (S34).
#![forbid(unsafe_code)]

pub mod config;
mod error;
pub mod files;
pub mod identity;
#[cfg(any(test, feature = "issuer"))]
pub mod issue;
pub mod role;
mod verify;

#[cfg(test)]
mod mtls_test;

pub use config::{ClientRole, ServerRole, https_server};
pub use error::Error;
pub use files::{Expiry, Files};
pub use identity::{Identity, WebIdentity};
pub use role::{Role, RoleName};
