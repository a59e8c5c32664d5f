//! `root.bin`: the public half on disk. Read whole, written whole or not at all.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bkv_wire::documents::Root;

use super::RootError;

/// The file as found at start.
pub(crate) struct RootFile {
    pub(crate) path: PathBuf,
    pub(crate) found: Option<(Root, Vec<u8>)>,
}

impl RootFile {
    /// Reads it. Only a vault that may make a root may start without the file.
    pub(crate) fn read(path: &Path, may_be_missing: bool) -> Result<Self, RootError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if may_be_missing && e.kind() == ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), found: None });
            }
            Err(source) => return Err(RootError::File { path: path.to_owned(), source }),
        };
        let root =
            Root::decode(&bytes).map_err(|source| RootError::Malformed { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), found: Some((root, bytes)) })
    }

    /// Puts the public half there.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), RootError> {
        write_whole(&self.path, bytes).map_err(|source| RootError::File { path: self.path.clone(), source })
    }
}

/// Beside first, then renamed, both made durable: a reader and a crash see nothing or all of it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let beside = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    std::fs::File::open(folder)?.sync_all()
}
