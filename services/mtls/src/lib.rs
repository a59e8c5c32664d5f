//! Mutual TLS for every link except those between vaults, and the HTTPS of ChatD's public listener, which asks for no client certificate.
//!
//! TLS 1.3 only, aws-lc only. One URI SAN under the deployment's role CA, `bkv://role/<role>/<name>`, names the peer. DNS names are ignored, so an
//! attacker who redirects a Service or has a certificate of another role is refused (S34).
#![forbid(unsafe_code)]

pub mod config;
mod error;
pub mod files;
pub mod identity;
#[cfg(any(test, feature = "issuer"))]
pub mod issue;
#[cfg(any(test, feature = "issuer"))]
pub mod profile;
pub mod role;
mod verify;

#[cfg(test)]
mod mtls_test;

pub use config::{ClientRole, ServerRole, https_server};
pub use error::Error;
pub use files::{Expiry, Files};
pub use identity::{Changes, Identity, WebIdentity};
pub use role::{Role, RoleName};
