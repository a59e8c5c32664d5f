//! bkv-vault: one replica of the Backup Key Vault.
//!
//! `store` keeps sealed rows, `raft` replicates batches of `bkv-core`'s commands, `replica` is a shard as the service sees it, `peer` the
//! connections between vaults. Decisions about attempts are not made here.
#![forbid(unsafe_code)]

pub mod env;
pub mod peer;
mod raft;
pub mod replica;
pub mod store;
