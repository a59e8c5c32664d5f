//! Why certificates can't be made, read or parsed.

use crate::api_server::ObjectError;
use crate::conditions::{Check, Trouble};

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
    /// As something that is waited for. `secret`: whose content was to be made, if the error names no other one. A server's error stays an error of the pass.
    pub(crate) fn trouble(self, secret: &str) -> Result<Trouble, ObjectError> {
        let message = self.to_string();
        Ok(match self {
            Self::Apply(e) => e.trouble()?,
            Self::Pki(PkiError::Authority { secret, .. }) => {
                Trouble::new(Check::CertificateRefused, secret, message)
            }
            Self::Pki(PkiError::Secret { secret, .. }) | Self::NotMade(secret) => {
                Trouble::new(Check::Certificate, secret, message)
            }
            Self::Pki(PkiError::Make { .. }) => Trouble::new(Check::Certificate, secret, message),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_names_the_secret_that_it_is_about() {
        let (web, why) = ("demo-chatd-web".to_owned(), "x".to_owned());
        let target = |e: CertificateError| e.trouble("demo-chatd-web-ca").unwrap().target;
        assert_eq!(target(CertificateError::NotMade(web.clone())), web);
        assert_eq!(target(PkiError::Secret { secret: web.clone(), why: why.clone() }.into()), web);
        assert_eq!(target(PkiError::Authority { secret: web.clone(), why: why.clone() }.into()), web);
        assert_eq!(target(PkiError::Make { name: web.clone(), why }.into()), "demo-chatd-web-ca");
        let foreign = ObjectError::Collision { kind: "Secret", name: web };
        assert_eq!(target(foreign.into()), "Secret demo-chatd-web");
    }
}
