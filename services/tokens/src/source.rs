//! Where keys come from: the configuration, a file, or the issuer's https address.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::KeysError;
use crate::keys::{Keys, MAX_DOCUMENT};

/// The longest time between reads of a file.
const LOOK: Duration = Duration::from_secs(5);

/// Where a JWKS is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The document itself.
    Inline(String),
    /// A file, read again at each refresh.
    File(PathBuf),
    /// An https address.
    Url {
        /// It begins with https://.
        url: String,
        /// A file with the only authorities, PEM, that may certify the issuer's server. None: the public ones, which are compiled in.
        ca_file: Option<PathBuf>,
    },
}

impl KeySource {
    /// True if a failed fetch may succeed later without a change here, so that a process may start without keys.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Url { .. })
    }

    /// The interval of regular fetches. A file is read more often, so that a key that leaves a mounted `ConfigMap` is soon refused.
    pub(crate) fn every(&self, wish: Duration) -> Duration {
        match self {
            Self::File(_) => wish.min(LOOK),
            _ => wish,
        }
    }

    /// Reads and parses. A URL must stay https and send at most 256 KiB within 10 s. The caller must have installed rustls's crypto provider.
    pub async fn fetch(&self) -> Result<Keys, KeysError> {
        match self {
            Self::Inline(json) => Keys::parse(json.as_bytes()),
            Self::File(path) => {
                let bytes = tokio::fs::read(path)
                    .await
                    .map_err(|source| KeysError::File { path: path.clone(), source })?;
                Keys::parse(&bytes)
            }
            Self::Url { url, ca_file } => {
                let authorities = match ca_file {
                    Some(path) => authorities(path).await?,
                    None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
                };
                Keys::parse(&download(url, authorities).await?)
            }
        }
    }
}

/// Reads the file at each fetch: a mounted file changes while the program runs.
async fn authorities(path: &Path) -> Result<RootCertStore, KeysError> {
    let pem =
        tokio::fs::read(path).await.map_err(|source| KeysError::File { path: path.to_owned(), source })?;
    let mut store = RootCertStore::empty();
    let (good, _) = store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if good == 0 { Err(KeysError::Authorities { path: path.to_owned() }) } else { Ok(store) }
}

/// Ignores the environment. Otherwise an attacker who can set a vault's variables could name a proxy and an authority, serve their own keys to the vault,
/// and sign tokens for every account.
async fn download(url: &str, authorities: RootCertStore) -> Result<Vec<u8>, KeysError> {
    if !url.starts_with("https://") {
        return Err(KeysError::Scheme { url: url.to_owned() });
    }
    let fail =
        |source: reqwest::Error| KeysError::Fetch { url: url.to_owned(), source: source.without_url() };
    let tls = ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .redirect(reqwest::redirect::Policy::limited(2))
        .timeout(Duration::from_secs(10))
        .build()
        .map_err(fail)?;
    let mut answer = client.get(url).send().await.map_err(fail)?;
    if !answer.status().is_success() {
        return Err(KeysError::Status { url: url.to_owned(), status: answer.status().as_u16() });
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(fail)? {
        // Count the bytes as they arrive: the server may lie in Content-Length.
        if body.len() + chunk.len() > MAX_DOCUMENT {
            return Err(KeysError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
