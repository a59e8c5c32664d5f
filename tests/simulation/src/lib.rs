//! Test benches for vaults.
//!
//! [`simulation`]: three real vaults with SoftHSM tokens in one process, whose disk, network, clock, token and power a test breaks on purpose; the
//! client's SDK talks to them without ChatD. Only the disk, the network and the clock are simulated. [`rooted`]: an attacker who has one admitted
//! vault's identity key and log, against two honest vaults. Nothing here decides what a vault does.
#![forbid(unsafe_code)]
// This crate is test support: a failed expectation is how it reports.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]

pub mod audit;
pub mod boot_key;
pub mod clock;
pub mod disk;
pub mod documents;
pub mod faulty_keeper;
pub mod held_export;
pub mod machine;
pub mod network;
pub mod peer_calls;
pub mod ports;
pub mod raw_client;
pub mod rooted;
pub mod simulation;
pub mod token;
pub mod transport;
pub mod witness;

pub use simulation::{Options, RIGHT, Simulation, eventually, soon, token_key};
