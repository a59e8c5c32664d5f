//! ChatD, the front end: authenticates clients and relays their frames to the vault that leads their shard. It decodes only the outer envelope of their
//! messages. Its projection decodes the vaults' event feed with the types of `bkv-core`.
//!
//! Pure parts (no I/O, no clock): `routing`, `stream`, `limits`. The edge: `server` (the ports), `shared` (what handlers share), `relay` (one client), `vaults` (shared links),
//! `projection` (key metadata in Postgres).
#![forbid(unsafe_code)]

pub mod fleet;
pub mod limits;
pub mod metrics;
pub mod projection;
mod relay;
pub mod routing;
pub mod run;
pub mod server;
pub mod shared;
pub mod stream;
pub mod vaults;

#[cfg(test)]
mod limits_test;
#[cfg(test)]
mod parser_test;
#[cfg(test)]
mod routing_test;
#[cfg(test)]
mod stream_test;
