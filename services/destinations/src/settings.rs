//! What an address does not say.

use std::path::PathBuf;

/// How a server finds the bucket in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// `https://HOST/BUCKET/…`
    Path,
    /// `https://BUCKET.HOST/…`
    Virtual,
}

/// The choices of a person. None is a default, which comes from the environment, from a file, or from the service.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// URL of an S3 server that is not Amazon's.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// By default `Virtual` at Amazon and `Path` elsewhere.
    pub addressing: Option<Addressing>,
    /// File with the credentials: of S3 in AWS's form, of WebDAV in that of `.netrc`.
    pub credentials: Option<PathBuf>,
    /// The section of AWS's files.
    pub profile: Option<String>,
    /// PEM file with the authorities that may certify the server, in place of the system's.
    pub authority: Option<PathBuf>,
    /// Also talk to a server that is not on this machine without TLS.
    pub allow_http: bool,
}

/// The environment of a process. Tests have their own.
pub trait Environment {
    /// A variable that is set and not empty.
    fn get(&self, name: &str) -> Option<String>;

    /// A file below the home folder.
    fn home(&self, file: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.get("HOME")?).join(file))
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn get(&self, name: &str) -> Option<String> {
        self(name).filter(|value| !value.is_empty())
    }
}
