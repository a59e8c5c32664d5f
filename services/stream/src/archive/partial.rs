//! A file that appears under its name only when it is whole and on the disk; until then it is `<name>.partial`.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{beside, parent};
use crate::error::{Error, Result};

/// Removed on drop unless published.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    published: std::cell::Cell<bool>,
}

impl Partial {
    /// A partial file that a crash left is taken over; one that another process holds is an error.
    pub(super) fn create(target: &Path) -> Result<Self> {
        let path = beside(target, ".partial");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(&path).map_err(|error| Error::at("create", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path }),
            Err(TryLockError::Error(error)) => return Err(Error::at("lock", &path, error)),
        }
        // Whoever held the lock may have removed the name in between: then this is no longer the file of that name.
        let same =
            |named: fs::Metadata, ours: fs::Metadata| (named.dev(), named.ino()) == (ours.dev(), ours.ino());
        if !fs::symlink_metadata(&path).and_then(|named| Ok(same(named, file.metadata()?))).unwrap_or(false) {
            return Err(Error::Busy { path });
        }
        file.set_len(0).map_err(|error| Error::at("write", &path, error))?;
        Ok(Self { path, file, published: std::cell::Cell::new(false) })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Device and inode, so that a backup never packs itself.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.file.metadata().map_or((0, 0), |meta| (meta.dev(), meta.ino()))
    }

    /// Names this file in errors that come from writing to it.
    pub(super) fn locate(&self, error: Error) -> Error {
        match error {
            Error::Io(source) => Error::at("write", &self.path, source),
            other => other,
        }
    }

    /// Data, then name, then folder: after a power cut there is the old file or the whole new one.
    pub(super) fn publish(self, target: &Path) -> Result<()> {
        self.file.sync_all().map_err(|error| Error::at("write", &self.path, error))?;
        fs::rename(&self.path, target).map_err(|error| Error::at("rename to", target, error))?;
        self.published.set(true);
        sync_folder(parent(target))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published.get() {
            // Nothing more can be done about a file that cannot be removed; its name says what it is.
            drop(fs::remove_file(&self.path));
        }
    }
}

pub(super) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| Error::at("sync", path, error))
}
