//! Fuzzing of the handlers (S38, S49). Each target sends the messages of one attacker to live replicas and checks after each input that they still answer an
//! honest caller, and that no account has gone back. Random bytes choose among valid messages and change them, so that they get past the decoders.
//!
//! Targets: `peers` (a rooted vault's Raft calls, snapshots and certificates to an honest vault), `regions` (what a rooted leader asks another region for a person),
//! `requests` (a client inside the inner channel), `relay` (a rooted ChatD's link to a vault), `websocket` (a client on its connection to ChatD), `links` (a rooted vault
//! on ChatD's link to it). `vaults` has the three vaults that the last five talk to. `target` has what all of them share, `seeds` the inputs that each test run sends,
//! `process` the process that runs them.
//! `main.rs` is the libFuzzer program. Nothing here decides what a vault does.
#![forbid(unsafe_code)]
// This crate is test support: a failed expectation is how it reports.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

pub mod change;
pub mod frames;
pub mod links;
pub mod numbers;
pub mod peers;
pub mod process;
pub mod regions;
pub mod relay;
pub mod requests;
pub mod seeds;
pub mod target;
pub mod vaults;
pub mod websocket;
