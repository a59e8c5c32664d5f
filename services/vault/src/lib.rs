//! bkv-vault: one replica of the Backup Key Vault.
//!
//! `session` is one conversation with a client, `service` what a region does for an account, `relay` and `admin` the doors; `store` keeps sealed rows, `raft` replicates batches of `bkv-core`'s commands, `replica` is a shard as the service sees it, `peer` the
//! connections between vaults, `root` the pinned root and who holds its private half. Decisions about attempts are not made here.
#![forbid(unsafe_code)]

pub mod admin;
pub mod env;
#[cfg(feature = "forensics")]
pub mod forensics;
pub mod health;
pub mod keeper;
pub mod metrics;
pub mod peer;
mod pin;
pub mod raft;
pub mod relay;
pub mod replica;
mod root;
pub mod run;
pub mod service;
pub mod session;
pub mod store;
