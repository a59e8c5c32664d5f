//! Errors of certificates and their files. Each error names the file and the remedy.

use std::path::PathBuf;

/// An identity can't be loaded or a configuration can't be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("{path}: cannot be read: mount the file there, readable for this process")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is larger than any certificate or key is.
    #[error("{path}: larger than 1 MiB: mount a PEM file of certificates or of a key")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file has no PEM section of the wanted kind.
    #[error("{path}: holds no PEM {what}: check that the certificate, key and CA files were not swapped")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Certificate or private key.
        what: &'static str,
    },
    /// The key can't sign, or it does not belong to the certificate.
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
        /// What is wrong with the role.
        source: crate::role::RoleError,
    },
    /// A certificate in the file can't be parsed.
    #[error("{path}: a certificate in this file cannot be parsed: issue it again")]
    Certificate {
        /// The file.
        path: PathBuf,
    },
    /// rustls refuses the configuration.
    #[error("TLS can't be configured")]
    Tls(#[from] rustls::Error),
}
