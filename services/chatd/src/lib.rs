//! ChatD, the front end: authenticates clients, relays opaque frames to the vault that leads their shard. It knows the outer envelope only.
//!
//! Here live the pure parts (no I/O, no clock): where a route goes, what a stream does with each frame, who may send how much.
#![forbid(unsafe_code)]

pub mod limits;
pub mod routing;
pub mod stream;

#[cfg(test)]
mod limits_test;
#[cfg(test)]
mod routing_test;
#[cfg(test)]
mod stream_test;
