//! Why certificates can't be made, read or parsed.

use crate::api_server::ObjectError;
use crate::conditions::{Check, Trouble};
use crate::validate::Fleet;

/// The certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error(transparent)]
    Apply(#[from] ObjectError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The Secret was not made, without a known reason.
    #[error("Secret {0} could not be made; tried again")]
    NotMade(String),
}

impl CertificateError {
    /// As something that is waited for.
    pub(crate) fn trouble(&self, fleet: &Fleet) -> Trouble {
        match self {
            Self::Pki(PkiError::Authority { secret, .. }) => {
                Trouble::new(Check::CertificateRefused, secret.clone(), self.to_string())
            }
            _ => Trouble::new(Check::Certificate, fleet.names().admin(), self.to_string()),
        }
    }
}

/// A certificate can't be made or parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PkiError {
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
        "Secret {secret}: {why}; restore it from a backup. If there is none, delete it: the operator makes a new authority, and those who trust the old one refuse its certificates until they have it: after the role authority, vaults, ChatD and the operator for some minutes; after the web authority, clients until somebody gives them the new `ca.crt`"
    )]
    Authority {
        /// Which.
        secret: String,
        /// Why.
        why: String,
    },
}
