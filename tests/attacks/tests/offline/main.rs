//! Offline attacks on a real run: a fleet of real processes is used, stopped and seized; the attacker then reads what root reads of one region, of two,
//! of all, with their tokens and PINs, and runs every test of a password that such data permits.
//!
//! `run` drives the fleet and starts this program again as the attacker, since SoftHSM reads where its tokens lie once per process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dictionary;
mod guess;
mod proofs;
mod remains;
mod run;
mod seized;
mod shares;
