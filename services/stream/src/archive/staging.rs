//! The folder beside the destination into which a restore writes until it is whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bkv_files::sync_file_system;
use rustix::fs::OFlags;

use super::{beside, parent, partial::sync_folder};
use crate::error::{Error, Result};

/// How many names are tried.
const TRIES: u8 = 8;
/// The end of a staging folder's name. Before it come the destination's name, a dot and sixteen random digits.
pub(super) const SUFFIX: &str = ".restoring";

/// Removed on drop unless it took the destination's name.
pub(super) struct Staging {
    path: PathBuf,
    destination: PathBuf,
    /// Locked while this process works in it. The lock ends with the process, so an unlocked folder is a leftover.
    folder: File,
    done: bool,
}

/// Checks that a restore could write to `destination`, by creating and removing a staging folder beside it.
pub fn check_destination(destination: &Path) -> Result<()> {
    Staging::create(destination).map(drop)
}

impl Staging {
    pub(super) fn create(destination: &Path) -> Result<Self> {
        check_free(destination)?;
        for _ in 0..TRIES {
            let mut random = [0; 8];
            SystemRandom::new().fill(&mut random).map_err(|_| Error::Crypto)?;
            let path = beside(destination, &format!(".{:016x}{SUFFIX}", u64::from_be_bytes(random)));
            // Only the owner may open the folder, because its files do not have their final permissions yet.
            DirBuilder::new().mode(0o700).create(&path).map_err(|error| Error::at("create", &path, error))?;
            // Before the lock is taken, another restore may remove the folder as a leftover. Then the loop makes another one.
            if let Some(folder) = lock(&path) {
                return Ok(Self { path, destination: destination.to_owned(), folder, done: false });
            }
        }
        Err(Error::DestinationExists { path: destination.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all content to the disk, then renames the folder. The rename can replace only an empty folder.
    pub(super) fn publish(mut self) -> Result<()> {
        sync_file_system(&self.folder).map_err(|error| Error::at("write", &self.destination, error))?;
        check_free(&self.destination)?;
        fs::rename(&self.path, &self.destination)
            .map_err(|error| Error::at("rename to", &self.destination, error))?;
        self.done = true;
        sync_folder(parent(&self.destination))
    }
}
/// Opens and locks the folder. None if another process holds the lock or the path names another folder by now.
pub(super) fn lock(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed());
    let folder = options.open(path).ok()?;
    folder.try_lock().ok()?;
    let (ours, named) = (folder.metadata().ok()?, fs::symlink_metadata(path).ok()?);
    ((ours.dev(), ours.ino()) == (named.dev(), named.ino())).then_some(folder)
}

/// Removes a staging folder, also one with read-only folders in it.
pub(super) fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_err() {
        // The owner can't empty a folder that was restored as read-only before it is writable again.
        open_up(path);
        drop(fs::remove_dir_all(path));
    }
}

fn check_free(destination: &Path) -> Result<()> {
    match fs::symlink_metadata(destination) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::at("look at", destination, error)),
        Ok(meta)
            if meta.is_dir() && fs::read_dir(destination).is_ok_and(|mut list| list.next().is_none()) =>
        {
            Ok(())
        }
        Ok(_) => Err(Error::DestinationExists { path: destination.to_owned() }),
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.done {
            remove(&self.path);
        }
    }
}

fn open_up(folder: &Path) {
    drop(fs::set_permissions(folder, Permissions::from_mode(0o700)));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
