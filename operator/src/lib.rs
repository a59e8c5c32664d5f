//! The operator of the Backup Key Vault: a `BackupKeyVault` resource in, a fleet on Kubernetes out.
//!
//! `observe` has the types of what was observed, and `validate` checks the spec. `bootstrap` decides what a fleet needs next, `plan` which objects should
//! exist, and `status` what to report. All of these are pure. Only `edge` talks to the API server and to vaults, by `api_server`, `apply`, `certificates`, `credentials`, `lease` and
//! `vaults`.
#![forbid(unsafe_code)]

mod api_server;
mod apply;
pub mod bootstrap;
pub mod certificates;
#[cfg(test)]
mod changed_test;
pub mod conditions;
mod context;
mod credentials;
mod edge;
pub mod journal;
pub mod kinds;
pub mod labels;
pub mod lease;
pub mod metrics;
pub mod observe;
mod part;
pub mod paths;
pub mod plan;
mod random;
pub mod resource;
pub mod settings;
pub mod status;
pub mod validate;
pub mod vaults;

pub use edge::{RunError, run};
