//! PEM files on disk: read whole, bounded, with errors that name the file. Private key bytes are wiped.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
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

/// The chain with its key, checked to belong together, and the earliest `notAfter` of the chain in seconds since the Unix epoch: every
/// link counts, not the leaf alone.
pub(crate) fn certified_key(
    certificate: &Path,
    certificate_pem: &[u8],
    key: &Path,
    key_pem: &[u8],
) -> Result<(CertifiedKey, i64), Error> {
    let chain = certificates(certificate, certificate_pem)?;
    let mut not_after = i64::MAX;
    for link in &chain {
        let (_, parsed) = X509Certificate::from_der(link.as_ref())
            .map_err(|_| Error::Certificate { path: certificate.to_owned() })?;
        not_after = not_after.min(parsed.validity().not_after.timestamp());
    }
    let der = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|_| Error::Pem { path: key.to_owned(), what: "private key" })?;
    let mismatch = |source| Error::KeyMismatch { path: key.to_owned(), source };
    let certified = CertifiedKey::from_der(chain, der, &aws_lc_rs::default_provider()).map_err(mismatch)?;
    certified.keys_match().map_err(mismatch)?;
    Ok((certified, not_after))
}
