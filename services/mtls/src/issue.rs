//! CAs in software, for `bkv dev` and tests: one for roles, one for the web. In a cluster the operator or cert-manager issues certificates.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use zeroize::Zeroizing;

use crate::profile::{self, Validity};
use crate::{Files, RoleName};

/// Issuing failed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// rcgen refuses a field.
    #[error("a certificate can't be made")]
    Certificate(#[from] rcgen::Error),
    /// A file can't be written.
    #[error("{path}: cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// A certificate with its key, as PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The certificate's key.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

/// A CA. It keeps no list of what it issued.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A CA for role certificates.
pub struct RoleCa(Ca);

/// A CA for the certificate that clients see. It is not the role CA: clients trust it, and an attacker who has its key can open no port of a vault.
pub struct WebCa(Ca);

impl std::fmt::Debug for RoleCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleCa").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WebCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebCa").finish_non_exhaustive()
    }
}

impl Ca {
    fn new(name: &str, key: KeyPair) -> Result<Self, IssueError> {
        let params = profile::authority(name, backdated(TEN_YEARS))?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    fn sign(&self, params: &CertificateParams) -> Result<Issued, IssueError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }
}

impl WebCa {
    /// A new CA with a P-256 key, valid for ten years.
    pub fn generate() -> Result<Self, IssueError> {
        Ok(Self(Ca::new("bkv web CA", KeyPair::generate()?)?))
    }

    /// The CA's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.0.certificate
    }

    /// A certificate for a server with these DNS names and IP addresses, such as ChatD's public listener.
    pub fn issue(&self, names: &[&str], lifetime: Duration) -> Result<Issued, IssueError> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let names = CertificateParams::new(names)?.subject_alt_names;
        self.0.sign(&profile::server("bkv web", names, backdated(lifetime))?)
    }

    /// What an attacker who has its key makes of it: a CA that issues roles.
    #[cfg(test)]
    pub(crate) fn misused(self) -> RoleCa {
        RoleCa(self.0)
    }
}

impl RoleCa {
    /// A new CA with a P-256 key, valid for ten years.
    pub fn generate() -> Result<Self, IssueError> {
        Ok(Self(Ca::new(ROLE_CA, KeyPair::generate()?)?))
    }

    /// A CA with an existing key. It has a new certificate over the same key and name, so earlier leaves stay valid.
    pub fn from_key_pem(pem: &str) -> Result<Self, IssueError> {
        Ok(Self(Ca::new(ROLE_CA, KeyPair::from_pem(pem)?)?))
    }

    /// Another certificate of the same CA that expires after `lifetime`, for tests of expiry.
    #[cfg(test)]
    pub(crate) fn until(&self, lifetime: Duration) -> Result<String, IssueError> {
        Ok(profile::authority(ROLE_CA, backdated(lifetime))?.self_signed(self.0.issuer.key())?.pem())
    }

    /// The CA's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.0.certificate
    }

    /// The CA's key. An attacker who has it can act in every role.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.issuer.key().serialize_pem())
    }

    /// A certificate for a role, for clients and servers. It is valid from an hour ago, because clocks differ, until `lifetime` from now.
    pub fn issue(&self, name: &RoleName, lifetime: Duration) -> Result<Issued, IssueError> {
        self.issue_from(name, SystemTime::now() - HOUR, lifetime + HOUR)
    }

    /// As [`RoleCa::issue`], valid from `from` on for `lifetime`, for tests of expiry.
    pub fn issue_from(
        &self,
        name: &RoleName,
        from: SystemTime,
        lifetime: Duration,
    ) -> Result<Issued, IssueError> {
        self.issue_with(name, Vec::new(), Validity { from, until: from + lifetime })
    }

    fn issue_with(
        &self,
        name: &RoleName,
        mut names: Vec<SanType>,
        validity: Validity,
    ) -> Result<Issued, IssueError> {
        names.push(SanType::URI(Ia5String::try_from(name.to_uri())?));
        self.0.sign(&profile::role(&name.to_string(), names, validity)?)
    }

    /// Issues a certificate and writes `tls.crt`, `tls.key` and `ca.crt` (mode 0600) into `directory` (made with mode 0700 if missing). A rename
    /// replaces each file.
    pub fn write_role(
        &self,
        directory: &Path,
        name: &RoleName,
        lifetime: Duration,
    ) -> Result<Files, IssueError> {
        self.write(directory, &self.issue(name, lifetime)?)
    }

    /// As [`RoleCa::write_role`], with the host names and IP addresses of a server, for clients that check them, such as `curl`. The project's own clients check the
    /// role.
    pub fn write_server(
        &self,
        directory: &Path,
        name: &RoleName,
        hosts: &[&str],
        lifetime: Duration,
    ) -> Result<Files, IssueError> {
        let hosts: Vec<String> = hosts.iter().map(|n| (*n).to_owned()).collect();
        let hosts = CertificateParams::new(hosts)?.subject_alt_names;
        self.write(directory, &self.issue_with(name, hosts, backdated(lifetime))?)
    }

    fn write(&self, directory: &Path, issued: &Issued) -> Result<Files, IssueError> {
        let files = Files::in_directory(directory);
        write_private(&files.certificate, issued.certificate.as_bytes())?;
        write_private(&files.key, issued.key.as_bytes())?;
        write_private(&files.ca, self.0.certificate.as_bytes())?;
        Ok(files)
    }
}

const ROLE_CA: &str = "bkv role CA";
const HOUR: Duration = Duration::from_hours(1);
const TEN_YEARS: Duration = Duration::from_hours(87_600);

fn backdated(lifetime: Duration) -> Validity {
    let now = SystemTime::now();
    Validity { from: now - HOUR, until: now + lifetime }
}

/// Writes a file that only its owner can read. Replaces the whole file or nothing.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), IssueError> {
    let fail = |source| IssueError::Write { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
            .create(directory)
            .map_err(fail)?;
    }
    bkv_files::replace(path, bytes, bkv_files::Mode::Private).map_err(fail)
}
