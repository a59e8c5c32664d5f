//! PEM files on disk: read whole, bounded, with errors that name the file. Private key bytes are wiped.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::Error;

const MAX_FILE: u64 = 1 << 20;

/// Where an identity lies. The files are watched, so a mounted Secret may be rewritten at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
    /// The CAs that peers' certificates must come from; several while a CA is rotated.
    pub ca: PathBuf,
}

impl Files {
    /// `tls.crt`, `tls.key` and `ca.crt` in one directory, as Kubernetes and cert-manager name them.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            certificate: directory.join("tls.crt"),
            key: directory.join("tls.key"),
            ca: directory.join("ca.crt"),
        }
    }
}

/// When each link of a chain expires, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The own certificate.
    pub leaf: i64,
    /// The first of those between it and the CA, if there are any.
    pub intermediate: Option<i64>,
    /// The CA that issued it, as it stands in the CA file; None where there is no such file. While a CA is rotated the file has others too: those
    /// may expire without anybody noticing.
    pub ca: Option<i64>,
}

impl Expiry {
    /// The first.
    pub fn first(&self) -> i64 {
        [Some(self.leaf), self.intermediate, self.ca].into_iter().flatten().min().unwrap_or(self.leaf)
    }
}

/// When the CA that issued `chain` expires; where none in the file did, whichever expires first.
pub(crate) fn ca_not_after(
    path: &Path,
    pem: &[u8],
    chain: &[CertificateDer<'static>],
    at: i64,
) -> Result<i64, Error> {
    let (leaf, intermediates) =
        chain.split_first().ok_or_else(|| Error::Certificate { path: path.to_owned() })?;
    let parsed =
        ParsedCertificate::try_from(leaf).map_err(|_| Error::Certificate { path: path.to_owned() })?;
    // A moment at which the chain is valid: an expired one has an issuer too.
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap_or(0)));
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let (mut issuers, mut all) = (Vec::new(), Vec::new());
    for ca in certificates(path, pem)? {
        let time = not_after(path, &ca)?;
        let mut only = RootCertStore::empty();
        only.add(ca).map_err(|_| Error::Certificate { path: path.to_owned() })?;
        let issued =
            verify_server_cert_signed_by_trust_anchor(&parsed, &only, intermediates, at, algorithms.all);
        if issued.is_ok() {
            issuers.push(time);
        }
        all.push(time);
    }
    // The same key under an old and a new certificate: peers believe either.
    let found = issuers.into_iter().max().or_else(|| all.into_iter().min());
    found.ok_or_else(|| Error::Certificate { path: path.to_owned() })
}

pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 << 10));
    std::fs::File::open(path).map_err(fail)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

pub(crate) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let missing = || Error::Pem { path: path.to_owned(), what: "certificate" };
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| missing())?;
    if all.is_empty() { Err(missing()) } else { Ok(all) }
}

pub(crate) fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        store.add(certificate).map_err(|_| Error::Certificate { path: path.to_owned() })?;
    }
    Ok(store)
}

/// `notAfter` in seconds since the Unix epoch.
pub(crate) fn not_after(path: &Path, certificate: &CertificateDer<'_>) -> Result<i64, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate.as_ref())
        .map_err(|_| Error::Certificate { path: path.to_owned() })?;
    Ok(parsed.validity().not_after.timestamp())
}

/// The chain with its key, checked to belong together, and when its links expire: every link counts, not the leaf alone.
pub(crate) fn certified_key(
    certificate: &Path,
    certificate_pem: &[u8],
    key: &Path,
    key_pem: &[u8],
) -> Result<(CertifiedKey, Expiry), Error> {
    let chain = certificates(certificate, certificate_pem)?;
    let times: Vec<i64> = chain.iter().map(|link| not_after(certificate, link)).collect::<Result<_, _>>()?;
    let expiry = Expiry {
        leaf: times.first().copied().unwrap_or(i64::MAX),
        intermediate: times.iter().skip(1).min().copied(),
        ca: None,
    };
    let der = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|_| Error::Pem { path: key.to_owned(), what: "private key" })?;
    let mismatch = |source| Error::KeyMismatch { path: key.to_owned(), source };
    let certified = CertifiedKey::from_der(chain, der, &aws_lc_rs::default_provider()).map_err(mismatch)?;
    certified.keys_match().map_err(mismatch)?;
    Ok((certified, expiry))
}
