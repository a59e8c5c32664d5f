//! Makes a fleet, and keeps its two documents in force. [`decide`] is a pure function from facts to the next actions and waits. Every action can be repeated,
//! and each pass decides again from what the cluster and the vaults hold, so a crash at any point loses nothing.
//!
//! The operator must never make a second set of keys over an existing fleet: people could no longer open their backups.

mod decide;
mod documents;
mod facts;
mod silence;

pub use decide::decide;
pub use facts::{Action, Custody, Decision, Facts, Signed, Vault, Verdict};

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod decide_test;
#[cfg(test)]
mod parser_test;
