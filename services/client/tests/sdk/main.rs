//! The SDK against a fleet in memory: real cryptography, faults at every step.
#![allow(missing_docs, unreachable_pub, clippy::pedantic)]

mod owner;
mod recover;
mod register;
mod stand;
mod status;
mod trust;
