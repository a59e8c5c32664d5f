//! bkv-vault: the vault of one region.
//!
//! Modules: `session` is one conversation with a client. `service` does what a region does for an account. `relay` serves ChatDs, `admin` serves
//! administrators, `health` serves probes. `store` keeps sealed rows. `raft` replicates batches of `bkv-core`'s commands. `replica` is one shard as
//! the service uses it. `peer` holds the connections between vaults. `root` holds the pinned root and, in some fleets, its private half. `volume`
//! measures the store's volume. `server_keys` checks z against the record. Only `bkv-core` decides about attempts.
#![forbid(unsafe_code)]

pub mod admin;
pub mod anchor;
pub mod chores;
pub mod env;
#[cfg(feature = "forensics")]
pub mod forensics;
pub mod health;
pub mod keeper;
pub mod metrics;
mod overdue;
pub mod peer;
mod pin;
pub mod raft;
pub mod relay;
pub mod replica;
mod root;
pub mod run;
pub mod server_keys;
pub mod service;
pub mod session;
pub mod store;
#[cfg(test)]
mod test_list;
mod timing;
pub mod volume;
