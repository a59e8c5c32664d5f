//! Attacks of a rooted leader on two honest vaults (S43).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod branches;
mod certified;
mod copies;
mod elections;
mod entries;
mod extremes;
mod histories;
mod last_tries;
mod random_messages;
mod snapshots;
