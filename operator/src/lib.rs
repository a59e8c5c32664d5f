//! The operator of the Backup Key Vault: a `BackupKeyVault` resource in, a fleet on Kubernetes out.
#![forbid(unsafe_code)]

pub mod apply;
pub mod documents;
pub mod journal;
pub mod kinds;
pub mod lease;
pub mod pki;
pub mod resource;
pub mod settings;
pub mod vaults;
