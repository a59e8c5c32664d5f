//! The role and name in a certificate: exactly one URI SAN `bkv://role/<role>/<name>`.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The role of a process. The list is closed: a new role needs a new version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// A vault.
    Vault,
    /// ChatD, the front end.
    Chatd,
    /// The operator program, or a person with its rights.
    Admin,
    /// A program that reads metrics.
    Metrics,
}

impl Role {
    /// The role in the URI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Chatd => "chatd",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A certificate or URI has no role, or more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// Not DER, or a broken extension.
    #[error("the certificate can't be parsed")]
    Unparsable,
    /// No URI SAN that begins with `bkv://role/`.
    #[error("the certificate has no role")]
    Missing,
    /// The certificate has two roles. Refuse it, because its holder could act in both.
    #[error("the certificate has more than one role")]
    Several,
    /// A URI of ours with an unknown role or a bad name.
    #[error(
        "the role in the certificate is not one of vault, chatd, admin, metrics with a name of 1 to 63 of a-z, 0-9 and '-'"
    )]
    Malformed,
}

/// A role with the name of the process that has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoleName {
    role: Role,
    name: String,
}

impl RoleName {
    const PREFIX: &str = "bkv://role/";

    /// Refuses a `name` other than 1 to 63 of `a-z`, `0-9`, `-`.
    pub fn new(role: Role, name: &str) -> Result<Self, RoleError> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(good) {
            return Err(RoleError::Malformed);
        }
        Ok(Self { role, name: name.to_owned() })
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The name. The issuer must not give it twice within a role.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole URI.
    pub fn to_uri(&self) -> String {
        format!("{}{}/{}", Self::PREFIX, self.role, self.name)
    }

    /// Parses a whole URI. Accepts one spelling only: no case folding, no percent-encoding.
    pub fn from_uri(uri: &str) -> Result<Self, RoleError> {
        let rest = uri.strip_prefix(Self::PREFIX).ok_or(RoleError::Missing)?;
        let (role, name) = rest.split_once('/').ok_or(RoleError::Malformed)?;
        let role = match role {
            "vault" => Role::Vault,
            "chatd" => Role::Chatd,
            "admin" => Role::Admin,
            "metrics" => Role::Metrics,
            _ => return Err(RoleError::Malformed),
        };
        Self::new(role, name)
    }

    /// The role in a certificate. The caller must have verified the chain before.
    pub fn from_certificate(der: &CertificateDer<'_>) -> Result<Self, RoleError> {
        let (_, certificate) = X509Certificate::from_der(der.as_ref()).map_err(|_| RoleError::Unparsable)?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| RoleError::Unparsable)?
            .ok_or(RoleError::Missing)?;
        let mut found = None;
        for name in &names.value.general_names {
            let GeneralName::URI(uri) = name else { continue };
            match (Self::from_uri(uri), &found) {
                (Err(RoleError::Missing), _) => {}
                (Err(e), _) => return Err(e),
                (Ok(_), Some(_)) => return Err(RoleError::Several),
                (Ok(role), None) => found = Some(role),
            }
        }
        found.ok_or(RoleError::Missing)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.name)
    }
}
