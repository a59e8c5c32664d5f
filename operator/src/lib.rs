//! The operator of the Backup Key Vault: a `BackupKeyVault` resource in, a fleet on Kubernetes out.
#![forbid(unsafe_code)]

pub mod plan;
pub mod resource;
pub mod validate;
