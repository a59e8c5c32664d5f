//! The operator of the Backup Key Vault: a `BackupKeyVault` resource in, a fleet on Kubernetes out.
//!
//! `edge` runs the passes. `validate`, `observe`, `certificates`, `credentials`, `vaults`, `decide`, `plan` and `apply` are stages of a pass, and `status`
//! decides what to report. The mod.rs of a stage names the files that do I/O. The others are pure.
#![forbid(unsafe_code)]

mod api_server;
mod apply;
pub mod certificates;
#[cfg(test)]
mod changed_test;
pub mod conditions;
mod context;
mod credentials;
mod decide;
mod edge;
pub mod journal;
pub mod kinds;
pub mod labels;
pub mod lease;
pub mod metrics;
mod observe;
mod part;
pub mod paths;
pub mod plan;
mod random;
pub mod resource;
pub mod settings;
mod status;
pub mod validate;
mod vaults;

pub use edge::{RunError, run};
