//! The vault's decisions, sans-I/O: what an account is, which attempt is allowed, what a log entry does to it.
//!
//! Nothing here reads a clock, draws randomness, or touches disk, network or token: time and random values arrive in the log entry,
//! and every replica that applies the same entries to the same state reaches the same state. Signatures are checked through
//! [`verify::Verifier`], which `bkv-wire` implements.
#![forbid(unsafe_code)]

pub mod account;
mod apply;
pub mod command;
pub mod document;
pub mod effect;
pub mod encoding;
pub mod fleet;
pub mod hash;
pub mod id;
pub mod join;
pub mod record;
pub mod secret;
pub mod shard;
pub mod snapshot;
pub mod statement;
pub mod verify;
pub mod view;
