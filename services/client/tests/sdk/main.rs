//! The SDK against a fleet in memory: real cryptography, faults at every step.
// All of this crate is a test, its helpers too.
#![allow(missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod last_try;
mod ledgers;
mod memory_fleet;
mod owner;
mod person;
mod recover;
mod register;
mod settled;
mod status;
mod trust;
#[cfg(feature = "tokio")]
mod websocket;
