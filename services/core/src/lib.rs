//! The vault's decisions, sans-I/O: the state of an account, which attempt is allowed, and how a log entry changes the state.
//!
//! Nothing here reads a clock, draws randomness, or touches disk, network or token. Time and random values arrive in the log entry, so
//! every replica that applies the same entries to the same state reaches the same state. Signatures are checked through
//! [`verify::Verifier`], which `bkv-wire` implements.
#![forbid(unsafe_code)]

pub mod account;
mod apply;
pub mod batch;
pub mod bounds;
pub mod checkpoint;
pub mod command;
pub mod digest;
pub mod document;
pub mod effect;
pub mod encoding;
pub mod event;
pub mod fleet;
pub mod hash;
pub mod id;
pub mod join;
mod operation;
pub mod outcome;
pub mod possession;
#[cfg(feature = "put-back")]
pub mod put_back;
pub mod record;
pub mod secret;
pub mod shard;
pub mod signature;
pub mod snapshot;
pub mod statement;
pub mod verify;
pub mod version;
pub mod view;
pub mod writers;
