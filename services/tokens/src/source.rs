//! Where keys come from: the configuration, a file, or the issuer's https address.

use std::path::PathBuf;
use std::time::Duration;

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
    Url(String),
}

impl KeySource {
    /// True if a failed fetch may succeed later without a change here, so that a process may start without keys.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Url(_))
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
            Self::Url(url) => Keys::parse(&download(url).await?),
        }
    }
}

async fn download(url: &str) -> Result<Vec<u8>, KeysError> {
    if !url.starts_with("https://") {
        return Err(KeysError::Scheme { url: url.to_owned() });
    }
    let fail =
        |source: reqwest::Error| KeysError::Fetch { url: url.to_owned(), source: source.without_url() };
    let client = reqwest::Client::builder()
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
