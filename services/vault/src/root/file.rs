//! `root.bin`: the public half on disk. Written atomically.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bkv_wire::documents::Root;

use super::RootError;

/// The file as found at the start.
pub(crate) struct RootFile {
    pub(crate) path: PathBuf,
    pub(crate) found: Option<(Root, Vec<u8>)>,
}

impl RootFile {
    /// Reads the file. Only a vault that may make a root may start without it.
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

    /// Writes the public half to the file.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), RootError> {
        write_whole(&self.path, bytes).map_err(|source| RootError::File { path: self.path.clone(), source })
    }
}

/// Writes a file atomically and makes its folder. Readers see all of the file or nothing, also after a crash.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    bkv_files::replace(path, bytes, bkv_files::Mode::Public)
}
