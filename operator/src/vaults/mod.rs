//! The vaults' admin API: HTTPS with mutual TLS, the server judged by its role and region and not by a name or an address.

mod answers;
mod client;

pub use answers::{Fingerprints, RootAnswer, SealedRoot, SealedRoots, ShardStatus, VaultStatus, VaultToken};
pub use client::{VaultClient, VaultError};
