//! The identity of this process, from files that may change while it runs. The process uses new files only if all of them fit together. Until then it
//! keeps the last good ones and logs a warning.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, pki_types::CertificateDer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::files::{self, Expiry, Files};
use crate::{Error, RoleName};

/// The content of the files that are in use now.
pub(crate) struct Loaded {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) name: RoleName,
    expiry: Expiry,
    raw: [Zeroizing<Vec<u8>>; 3],
}

/// A role certificate with the CAs that verify peers. All configurations made from it share it, so a reload reaches all of them.
pub struct Identity {
    files: Files,
    loaded: watch::Sender<Arc<Loaded>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the three files. A later reload that fails changes nothing.
    pub fn load(files: Files) -> Result<Arc<Self>, Error> {
        let loaded = read_all(&files)?;
        Ok(Arc::new(Self { files, loaded: watch::Sender::new(Arc::new(loaded)) }))
    }

    /// From PEM in memory, for a caller that reads its key from a Secret and must not write it to a file. It does not reload.
    pub fn from_pem(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<Arc<Self>, Error> {
        // Only errors show these names.
        let files = Files::in_directory(Path::new("(in memory)"));
        let raw = [certificate, key, ca].map(|b| Zeroizing::new(b.to_vec()));
        let loaded = loaded(&files, raw)?;
        Ok(Arc::new(Self { files, loaded: watch::Sender::new(Arc::new(loaded)) }))
    }

    pub(crate) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.borrow())
    }

    /// Notices each change of the files' content from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.loaded.subscribe())
    }

    /// The role and name in this process's certificate.
    pub fn name(&self) -> RoleName {
        self.current().name.clone()
    }

    /// When each link of this process's chain expires.
    pub fn expiry(&self) -> Expiry {
        self.current().expiry
    }

    /// When the first link of this process's chain expires, in seconds since the Unix epoch.
    pub fn not_after(&self) -> i64 {
        self.expiry().first()
    }

    /// Reads the files again. Returns true if their content has changed. An error changes nothing.
    pub fn reload(&self) -> Result<bool, Error> {
        let fresh = read_all(&self.files)?;
        Ok(self.loaded.send_if_modified(|loaded| {
            let changed = loaded.raw != fresh.raw;
            if changed {
                *loaded = Arc::new(fresh);
            }
            changed
        }))
    }

    /// Reads the files every `interval` until cancelled. Compares their content, because mounted Secrets change behind a symbolic link.
    pub async fn watch(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        let what = self.files.certificate.display().to_string();
        watch(interval, stop, &what, || self.reload()).await;
    }
}

/// The changes of an [`Identity`]: a new certificate, key or authority.
pub struct Changes(watch::Receiver<Arc<Loaded>>);

impl Changes {
    /// Waits for the next change.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The identity is gone, so nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

fn read_all(f: &Files) -> Result<Loaded, Error> {
    loaded(f, [files::read(&f.certificate)?, files::read(&f.key)?, files::read(&f.ca)?])
}

fn loaded(f: &Files, raw: [Zeroizing<Vec<u8>>; 3]) -> Result<Loaded, Error> {
    let [certificate, key, ca] = &raw;
    let (certified, mut expiry) = files::certified_key(&f.certificate, certificate, &f.key, key)?;
    expiry.ca = Some(files::ca_not_after(&f.ca, ca, &certified.cert, expiry.first())?);
    let roots = files::roots(&f.ca, ca)?;
    let role = |source| Error::Role { path: f.certificate.clone(), source };
    let leaf = certified.cert.first().ok_or_else(|| role(crate::role::RoleError::Missing))?;
    let name = RoleName::from_certificate(leaf).map_err(role)?;
    Ok(Loaded { key: Arc::new(certified), roots: Arc::new(roots), name, expiry, raw })
}

async fn watch(
    interval: Duration,
    stop: CancellationToken,
    what: &str,
    mut reload: impl FnMut() -> Result<bool, Error>,
) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        match reload() {
            Ok(changed) => {
                failing = false;
                if changed {
                    tracing::info!(file = what, "certificate files changed and are in use");
                }
            }
            // Log only the first failure in a row: a rotation in two steps must not log each second.
            Err(e) if !failing => {
                failing = true;
                tracing::warn!(file = what, error = %e, "new certificate files are not usable, the last good ones stay in use");
            }
            Err(_) => {}
        }
    }
}

#[derive(Debug)]
pub(crate) struct RoleResolver(pub(crate) Arc<Identity>);

impl ResolvesServerCert for RoleResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current().key))
    }
}

impl ResolvesClientCert for RoleResolver {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = Arc::clone(&self.0.current().key);
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }
    fn has_certs(&self) -> bool {
        true
    }
}

struct LoadedWeb {
    key: Arc<CertifiedKey>,
    expiry: Expiry,
    /// Certificate and key as read, to notice a change.
    raw: [Zeroizing<Vec<u8>>; 2],
}

/// The certificate of a public HTTPS listener. It has no role, and clients have no certificates.
pub struct WebIdentity {
    certificate: PathBuf,
    key: PathBuf,
    loaded: RwLock<LoadedWeb>,
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl WebIdentity {
    /// Reads both files.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, Error> {
        let loaded = RwLock::new(Self::read(&certificate, &key)?);
        Ok(Arc::new(Self { certificate, key, loaded }))
    }

    fn read(certificate: &Path, key: &Path) -> Result<LoadedWeb, Error> {
        let (c, k) = (files::read(certificate)?, files::read(key)?);
        let (certified, expiry) = files::certified_key(certificate, &c, key, &k)?;
        Ok(LoadedWeb { key: Arc::new(certified), expiry, raw: [c, k] })
    }

    /// When each link of the chain expires, without the CA, which only the clients have.
    pub fn expiry(&self) -> Expiry {
        self.loaded.read().expiry
    }

    /// When the first link of the chain expires, in seconds since the Unix epoch.
    pub fn not_after(&self) -> i64 {
        self.expiry().first()
    }

    /// The chain in use, leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.loaded.read().key.cert.clone()
    }

    /// As [`Identity::reload`].
    pub fn reload(&self) -> Result<bool, Error> {
        let fresh = Self::read(&self.certificate, &self.key)?;
        let mut slot = self.loaded.write();
        if slot.raw == fresh.raw {
            return Ok(false);
        }
        *slot = fresh;
        Ok(true)
    }

    /// As [`Identity::watch`].
    pub async fn watch(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        let what = self.certificate.display().to_string();
        watch(interval, stop, &what, || self.reload()).await;
    }
}

#[derive(Debug)]
pub(crate) struct WebResolver(pub(crate) Arc<WebIdentity>);

impl ResolvesServerCert for WebResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.loaded.read().key))
    }
}
