//! Reads PEM files whole, up to a limit. Errors name the file. The bytes of private keys are wiped.

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

/// The files of an identity. They may change at any time, as in a mounted Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
    /// The CAs that may issue peers' certificates. There are several while a CA is rotated.
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
    /// The leaf certificate.
    pub leaf: i64,
    /// The intermediate certificate that expires first. None without intermediates.
    pub intermediate: Option<i64>,
    /// The CA in the CA file that issued the chain. None without a CA file. While a CA is rotated the file also has other CAs, whose expiry does not
    /// matter.
    pub ca: Option<i64>,
}

impl Expiry {
    /// The time at which the first link expires.
    pub fn first(&self) -> i64 {
        [Some(self.leaf), self.intermediate, self.ca].into_iter().flatten().min().unwrap_or(self.leaf)
    }
}

/// When the CA that issued `chain` expires. If no CA in the file issued it, the time at which the first CA in the file expires.
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
    // Verify at a time when the chain was valid, because an expired chain has an issuer too.
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
    // A CA may be in the file twice, with the same key in an old and a new certificate. Peers accept either, so the later time counts.
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

/// The chain with its key, and when its links expire. Refuses a key that does not belong to the chain.
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
