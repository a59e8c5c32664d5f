//! The operator of the Backup Key Vault: a `BackupKeyVault` resource in, a fleet on Kubernetes out.
//!
//! `process` starts the controllers, and `pass` walks one resource through the stages. Each stage is a folder: `validate`, `observe`, `certificates`,
//! `credentials`, `vaults`, `plan`, `decide`, `apply`, `act`, `report`. The mod.rs of a stage has the function that the pass calls, and names the files that do
//! I/O or draw random keys. The others are pure: no I/O, no clock, no randomness. All stages use the API server through `api_server`.
#![forbid(unsafe_code)]

mod act;
mod api_server;
mod apply;
pub mod certificates;
#[cfg(test)]
mod changed_test;
pub mod conditions;
mod context;
mod credentials;
mod decide;
pub mod journal;
pub mod kinds;
pub mod labels;
pub mod metrics;
mod observe;
mod part;
mod pass;
pub mod paths;
pub mod plan;
mod process;
mod random;
mod report;
pub mod resource;
pub mod settings;
pub mod validate;
mod vaults;

pub use process::{RunError, run};
