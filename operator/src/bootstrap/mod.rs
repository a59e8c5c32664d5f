//! From nothing to a fleet, and the documents of a fleet ever after. [`decide`] is pure: what is known in, the next actions and what is waited for out.
//! Every action can be repeated, and the decision is made anew from what lies in the cluster and in the vaults, so a crash anywhere loses nothing.
//!
//! The one thing that must never happen is a second set of keys over an existing fleet: people's backups would be lost behind it.

mod decide;
mod documents;
mod facts;

pub use decide::decide;
pub use facts::{Action, Custody, Decision, Facts, Signed, Vault, Verdict};

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod decide_test;
