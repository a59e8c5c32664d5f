//! A role CA in software: for `bkv dev` and tests. In a cluster the operator or cert-manager issues.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use zeroize::Zeroizing;

use crate::{Files, RoleName};

/// Issuing failed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// rcgen refuses.
    #[error("a certificate can't be made")]
    Certificate(#[from] rcgen::Error),
    /// A file can't be written.
    #[error("{path}: cannot be written")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A certificate chain with its key, as PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

/// A CA that knows nothing but how to sign.
pub struct RoleCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl std::fmt::Debug for RoleCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleCa").finish_non_exhaustive()
    }
}

impl RoleCa {
    /// A new CA with a P-256 key, valid for ten years.
    pub fn generate() -> Result<Self, IssueError> {
        Self::with_key(KeyPair::generate()?)
    }

    /// The CA again from its key: a new certificate over the same key and name, so earlier certificates stay valid.
    pub fn from_key_pem(pem: &str) -> Result<Self, IssueError> {
        Self::with_key(KeyPair::from_pem(pem)?)
    }

    fn with_key(key: KeyPair) -> Result<Self, IssueError> {
        let params = ca_params(SystemTime::now() - HOUR, 87_600 * HOUR)?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Another certificate of the same CA, which ends after `lifetime`: for tests of expiry.
    #[cfg(test)]
    pub(crate) fn until(&self, lifetime: Duration) -> Result<String, IssueError> {
        Ok(ca_params(SystemTime::now() - HOUR, lifetime + HOUR)?.self_signed(self.issuer.key())?.pem())
    }

    /// The CA's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The CA's key: whoever has it can play every role.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// A certificate for a role, good as client and as server, from an hour ago for `lifetime`.
    pub fn issue(&self, name: &RoleName, lifetime: Duration) -> Result<Issued, IssueError> {
        self.issue_from(name, SystemTime::now() - HOUR, lifetime + HOUR)
    }

    /// The same from a given time on: for tests of expiry.
    pub fn issue_from(
        &self,
        name: &RoleName,
        from: SystemTime,
        lifetime: Duration,
    ) -> Result<Issued, IssueError> {
        let mut params = params(&name.to_string(), from, lifetime)?;
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(name.to_uri())?)];
        self.sign(params)
    }

    /// A web server certificate for DNS names and addresses: ChatD's public listener in a development set-up.
    pub fn issue_web(&self, names: &[&str], lifetime: Duration) -> Result<Issued, IssueError> {
        let mut web = params("bkv dev", SystemTime::now() - HOUR, lifetime + HOUR)?;
        web.subject_alt_names =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?
                .subject_alt_names;
        self.sign(web)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Issued, IssueError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }

    /// Issues and writes `tls.crt`, `tls.key` and `ca.crt` into `directory` (made if missing, 0700), each 0600, each replaced by a rename.
    pub fn write_role(
        &self,
        directory: &Path,
        name: &RoleName,
        lifetime: Duration,
    ) -> Result<Files, IssueError> {
        let issued = self.issue(name, lifetime)?;
        let files = Files::in_directory(directory);
        write_private(&files.certificate, issued.certificate.as_bytes())?;
        write_private(&files.key, issued.key.as_bytes())?;
        write_private(&files.ca, self.certificate.as_bytes())?;
        Ok(files)
    }
}

const HOUR: Duration = Duration::from_hours(1);

fn ca_params(from: SystemTime, lifetime: Duration) -> Result<CertificateParams, IssueError> {
    let mut params = params("bkv role CA", from, lifetime)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn params(common_name: &str, from: SystemTime, lifetime: Duration) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::new(Vec::new())?;
    let start = rcgen::date_time_ymd(1970, 1, 1) + from.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = start;
    params.not_after = start + lifetime;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), IssueError> {
    let fail = |source| IssueError::Write { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
            .create(directory)
            .map_err(fail)?;
    }
    bkv_files::replace(path, bytes, bkv_files::Mode::Private).map_err(fail)
}
