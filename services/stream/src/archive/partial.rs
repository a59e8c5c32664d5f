//! A file that gets its name only when it is whole and on the disk. Before that it is `<name>.partial`.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{beside, parent};
use crate::error::{Error, Result};
use crate::header::MAGIC;

/// Removed on drop unless published.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    published: std::cell::Cell<bool>,
    /// True if a killed backup had left bytes in this file.
    took_over: bool,
}

impl Partial {
    /// Creates the partial file, or takes over one that a killed backup left. It returns an error if another process holds the file's lock or no
    /// backup wrote the file, and does not change the file then.
    pub(super) fn create(target: &Path) -> Result<Self> {
        let path = beside(target, ".partial");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(&path).map_err(|error| Error::at("create", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path }),
            Err(TryLockError::Error(error)) => return Err(Error::at("lock", &path, error)),
        }
        // The process that held the lock may have removed or renamed the file in between. Then this is no longer the file of that name.
        let same =
            |named: fs::Metadata, ours: fs::Metadata| (named.dev(), named.ino()) == (ours.dev(), ours.ino());
        if !fs::symlink_metadata(&path).and_then(|named| Ok(same(named, file.metadata()?))).unwrap_or(false) {
            return Err(Error::Busy { path });
        }
        // The lock proves that no process writes this file now. Its first bytes prove that a backup wrote it. Any other file of that name must not be
        // emptied.
        let took_over = match begins_like_a_backup(&file) {
            Ok(None) => false,
            Ok(Some(true)) => true,
            Ok(Some(false)) => return Err(Error::InTheWay { path }),
            Err(error) => return Err(Error::at("read", &path, error)),
        };
        file.set_len(0).map_err(|error| Error::at("write", &path, error))?;
        Ok(Self { path, file, published: std::cell::Cell::new(false), took_over })
    }

    /// The partial file of a killed backup, if this backup took one over.
    pub(super) fn taken_over(&self) -> Option<PathBuf> {
        self.took_over.then(|| self.path.clone())
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Device and inode, so that a backup never packs itself.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.file.metadata().map_or((0, 0), |meta| (meta.dev(), meta.ino()))
    }

    /// Adds this file's path to an error of a write.
    pub(super) fn locate(&self, error: Error) -> Error {
        match error {
            Error::Io(source) => Error::at("write", &self.path, source),
            other => other,
        }
    }

    /// Writes the data to the disk, then the name, then the folder. So after a power cut there is the old file or the whole new one.
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
            // Ignore an error: the next backup takes over a file that can't be removed now.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// True if the file begins with the magic of a backup. None for an empty file. A backup's first write is its whole header, so no backup wrote a file
/// that is shorter than the magic.
fn begins_like_a_backup(file: &File) -> std::io::Result<Option<bool>> {
    let mut beginning = Vec::new();
    let mut reader = file;
    reader.take(MAGIC.len() as u64).read_to_end(&mut beginning)?;
    std::io::Seek::rewind(&mut reader)?;
    Ok((!beginning.is_empty()).then(|| beginning == MAGIC))
}

pub(super) fn sync_folder(path: &Path) -> Result<()> {
    bkv_files::sync_folder(path).map_err(|error| Error::at("sync", path, error))
}
