//! The profile that `bkv dev up` writes, as an app gets it: how to reach the fleet.

use std::path::{Path, PathBuf};

use bkv_client::{Root, Trust};
use serde::Deserialize;

use crate::error::BenchError;

/// The part of the profile that the bench needs. Paths are relative to the profile.
#[derive(Debug, Deserialize)]
struct Written {
    /// `https://host:port`
    chatd: String,
    /// The root file.
    root: PathBuf,
    /// ChatD's own authority, PEM.
    chatd_ca: PathBuf,
}

/// ChatD's address, the authority of its certificate, and the pinned root.
#[derive(Debug)]
pub(crate) struct Profile {
    pub chatd: String,
    pub trust: Trust,
    pub root: Root,
}

impl Profile {
    pub(crate) fn read(path: &Path) -> Result<Self, BenchError> {
        let wrong = |why: String| BenchError::Profile { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(BenchError::file(path))?;
        let written: Written = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let beside = |p: &Path| path.parent().unwrap_or(Path::new("")).join(p);
        let read = |p: &Path| std::fs::read(beside(p)).map_err(BenchError::file(beside(p)));
        let root = Root::decode(&read(&written.root)?).map_err(|e| wrong(format!("root: {e}")))?;
        let trust = Trust::Pem(read(&written.chatd_ca)?);
        Ok(Self { chatd: written.chatd, trust, root })
    }
}
