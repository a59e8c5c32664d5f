//! What can be wrong with certificates and files. Each error names the file and what to do.

use std::path::PathBuf;

/// Loading an identity or making a configuration failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("{path}: cannot be read: mount it there, readable for this process")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is larger than any certificate or key is.
    #[error("{path}: larger than 1 MiB: this is not a PEM file of certificates or a key")]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// No PEM section of the wanted kind.
    #[error("{path}: holds no PEM {what}: check that the certificate, key and CA files were not swapped")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Certificate or private key.
        what: &'static str,
    },
    /// The key is of a kind that can't sign, or does not belong to the certificate.
    #[error("{path}: the private key does not belong to the certificate beside it: issue both again")]
    KeyMismatch {
        /// The key's file.
        path: PathBuf,
        /// rustls' error.
        source: rustls::Error,
    },
    /// The certificate has no role.
    #[error("{path}: {source}: issue it with the URI SAN bkv://role/<vault|chatd|admin|metrics>/<name>")]
    Role {
        /// The certificate's file.
        path: PathBuf,
        /// What is missing.
        source: crate::role::RoleError,
    },
    /// A certificate in the file can't be parsed.
    #[error("{path}: a certificate in it cannot be parsed: issue it again")]
    Certificate {
        /// Which file.
        path: PathBuf,
    },
    /// rustls refuses the combination.
    #[error("TLS can't be configured")]
    Tls(#[from] rustls::Error),
}
