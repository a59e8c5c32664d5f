//! The builtin certificate authority: what is due is decided here from values (`authority`, `leaf`); keys are made and kept in Secrets by the edge.
//! A new authority is trusted everywhere before it signs anything, and the old one stays trusted until nothing of it is left.

mod authority;
mod flaw;
mod leaf;
mod seen;

pub use authority::{Authorities, Authority, AuthorityDue, SeenAuthorities, authority_due};
pub use flaw::{Files, Flaw, flaw};
pub use leaf::{Leaf, LeafDue, Names, issue, leaf_due};
pub use seen::{SeenCertificate, read_chain};

use std::time::Duration;

/// rcgen or a PEM text refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// A certificate can't be made.
    #[error("a certificate for {name} can't be made: {why}")]
    Make {
        /// For whom.
        name: String,
        /// Why.
        why: String,
    },
    /// What lies in a Secret does not read.
    #[error("Secret {secret}: {why}; delete it to have it made anew")]
    Secret {
        /// Which.
        secret: String,
        /// Why.
        why: String,
    },
    /// The authority does not read. A new one would cut off everybody who trusts it, so none is made without a person's word.
    #[error(
        "Secret {secret}: {why}; restore it from a backup. If there is none, delete it: a new authority is made, and vaults, ChatD and the operator refuse each other for some minutes, until all have it"
    )]
    Authority {
        /// Which.
        secret: String,
        /// Why.
        why: String,
    },
}

/// Renewed once this share of its life is over.
pub const RENEW_AFTER: (u32, u32) = (2, 3);

/// When something valid from `from` to `to` (seconds since the epoch) is due for renewal.
pub fn renew_at(from: i64, to: i64) -> i64 {
    let life = to.saturating_sub(from).max(0);
    from.saturating_add(life / i64::from(RENEW_AFTER.1) * i64::from(RENEW_AFTER.0))
}

/// Clocks differ: everything is valid from this long before it is made.
pub const BACKDATED: Duration = Duration::from_hours(1);
