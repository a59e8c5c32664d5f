//! The hidden folder beside the destination in which a restore grows until it is whole.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::{beside, parent, partial::sync_folder};
use crate::error::{Error, Result};

/// Removed on drop unless it took the destination's name.
pub(super) struct Staging {
    path: PathBuf,
    destination: PathBuf,
    done: bool,
}

impl Staging {
    pub(super) fn create(destination: &Path) -> Result<Self> {
        check_free(destination)?;
        let mut random = [0; 8];
        SystemRandom::new().fill(&mut random).map_err(|_| Error::Crypto)?;
        let path = beside(destination, &format!(".{:016x}.restoring", u64::from_be_bytes(random)));
        // Only the owner may look in: what is in it is not yet under its own permissions.
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| Error::at("create", &path, error))?;
        Ok(Self { path, destination: destination.to_owned(), done: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything to the disk, then the name. A folder's rename replaces nothing but an empty folder.
    pub(super) fn publish(mut self) -> Result<()> {
        let folder = File::open(&self.path).map_err(|error| Error::at("open", &self.path, error))?;
        sync_all(&folder).map_err(|error| Error::at("write", &self.destination, error))?;
        check_free(&self.destination)?;
        fs::rename(&self.path, &self.destination)
            .map_err(|error| Error::at("rename to", &self.destination, error))?;
        self.done = true;
        sync_folder(parent(&self.destination))
    }
}

#[cfg(target_os = "linux")]
fn sync_all(folder: &File) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_all(_folder: &File) -> std::io::Result<()> {
    rustix::fs::sync();
    Ok(())
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
        if !self.done && fs::remove_dir_all(&self.path).is_err() {
            // A folder restored as read-only can't be emptied by its owner before it is writable again.
            open_up(&self.path);
            drop(fs::remove_dir_all(&self.path));
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
