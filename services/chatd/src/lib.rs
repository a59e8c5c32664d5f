//! ChatD, the front end: authenticates clients and relays their frames to the vault that leads their shard. It decodes only the outer envelope of their
//! messages. Its projection decodes the vaults' event feed with the types of `bkv-core`.
//!
//! Pure parts (no I/O, no clock): `routing`, `stream`, `limits`, `client_address`. The edge: `public` (the port for clients), `health` (the port for probes), `shared` (what
//! handlers share), `relay` (one client), `vaults` (shared links), `projection` (key metadata in Postgres).
#![forbid(unsafe_code)]

pub mod bundle_cache;
pub mod client_address;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod projection;
pub mod proxy_header;
pub mod public;
mod relay;
pub mod routing;
pub mod run;
pub mod shared;
pub mod stream;
pub mod underway;
pub mod vaults;

#[cfg(test)]
mod bundle_cache_test;
#[cfg(test)]
mod client_address_test;
#[cfg(test)]
mod limits_test;
#[cfg(test)]
mod parser_test;
#[cfg(test)]
mod proxy_header_test;
#[cfg(test)]
mod routing_test;
#[cfg(test)]
mod stream_test;
