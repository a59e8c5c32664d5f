//! The built-in certificate authority. `authority` and `leaf` decide from values what is due, and the edge keeps the keys in Secrets.
//! Every pod trusts a new authority before it signs, and trusts the old one until no leaf of it is left.

mod authority;
mod flaw;
mod leaf;
mod seen;

#[cfg(test)]
mod parser_test;

pub use authority::{Authorities, Authority, AuthorityDue, SeenAuthorities, authority_due};
pub use flaw::{Files, Flaw, flaw};
pub use leaf::{Leaf, LeafDue, Names, issue, leaf_due};
pub use seen::{SeenCertificate, read_chain};

use std::time::Duration;

/// A certificate can't be made or parsed.
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
    /// The content of a Secret can't be parsed.
    #[error("Secret {secret}: {why}; delete it, and the operator makes a new one")]
    Secret {
        /// Which.
        secret: String,
        /// Why.
        why: String,
    },
    /// The authority can't be parsed. Clients that trust it would refuse a new one, so the operator does not make one until a person decides.
    #[error(
        "Secret {secret}: {why}; restore it from a backup. If there is none, delete it: the operator makes a new authority, and vaults, ChatD and the operator refuse each other for some minutes, until all have it"
    )]
    Authority {
        /// Which.
        secret: String,
        /// Why.
        why: String,
    },
}

/// A certificate is renewed after this share of its validity.
pub const RENEW_AFTER: (u32, u32) = (2, 3);

/// When something valid from `from` to `to` (seconds since the epoch) is due for renewal.
pub fn renew_at(from: i64, to: i64) -> i64 {
    let life = to.saturating_sub(from).max(0);
    from.saturating_add(life / i64::from(RENEW_AFTER.1) * i64::from(RENEW_AFTER.0))
}

/// Certificates are valid from this long before they are made, because clocks differ.
pub const BACKDATED: Duration = Duration::from_hours(1);
