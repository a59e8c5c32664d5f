//! The folder into which a restore writes until all of it is proved. Mode 0700, removed on drop unless published.
//!
//! For an absent destination it lies beside it and is renamed. An empty folder may be a mount point or the current folder, which can't be replaced. Then the
//! staging folder lies in it, and its entries are moved up at the end.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bkv_files::sync_file_system;
use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// The end of the name, as `bkv_stream::archive::clear_leftovers` expects it.
const SUFFIX: &str = ".restoring";

pub(super) struct Staging {
    path: PathBuf,
    destination: PathBuf,
    inside: bool,
    /// Locked while this process works in it.
    folder: File,
    done: bool,
}

/// Removes what killed restores have left, and returns the paths.
pub(super) fn clear(destination: &Path) -> Vec<PathBuf> {
    let mut cleared = bkv_stream::archive::clear_leftovers(destination);
    clear_inside(destination, &mut cleared);
    cleared
}

/// Clears leftovers. Then true if the destination is an empty folder, and false if it is absent.
pub(super) fn check(destination: &Path) -> Result<bool> {
    clear(destination);
    let inside = is_empty_folder(destination)?;
    if !inside {
        beside(destination, SUFFIX)?;
    }
    Ok(inside)
}

fn random() -> Result<u64> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::Crypto)?;
    Ok(u64::from_be_bytes(random))
}

/// A name in the staging folder that nothing in a backup has.
pub(super) fn temporary_name() -> Result<OsString> {
    Ok(format!(".bkv-{:016x}{:016x}", random()?, random()?).into())
}

impl Staging {
    pub(super) fn create(destination: &Path) -> Result<Self> {
        let inside = check(destination)?;
        let suffix = format!(".{:016x}{SUFFIX}", random()?);
        let path = if inside { destination.join(suffix) } else { beside(destination, &suffix)? };
        let failed = |error| Error::file("create", &path, error);
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&path)
            .map_err(failed)?;
        let staging =
            Self { path: path.clone(), destination: destination.to_owned(), inside, folder, done: false };
        staging.folder.try_lock().map_err(|_| Error::Busy { path })?;
        Ok(staging)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True if it lies in the destination.
    pub(super) fn is_inside(&self) -> bool {
        self.inside
    }

    /// Syncs the content and moves it to the destination.
    pub(super) fn publish(mut self, not_kept: &mut Vec<(PathBuf, String)>) -> Result<()> {
        let failed = |error| Error::file("write", &self.destination, error);
        sync_file_system(&self.folder).map_err(failed)?;
        if self.inside {
            let time = fs::metadata(&self.path).and_then(|meta| meta.modified());
            self.move_up()?;
            fs::remove_dir(&self.path).map_err(failed)?;
            bkv_files::sync_folder(&self.destination).map_err(failed)?;
            // The folder was there before, so its permissions stay, and only its time is the source's. It is set last: each of these steps changes it.
            let set = time.and_then(|time| File::open(&self.destination)?.set_modified(time));
            if let Err(error) = set {
                not_kept.push((self.destination.clone(), format!("time: {error}")));
            }
        } else {
            if fs::symlink_metadata(&self.destination).is_ok() {
                return Err(Error::DestinationExists { path: self.destination.clone() });
            }
            bkv_files::publish(&self.path, &self.destination).map_err(failed)?;
        }
        self.done = true;
        Ok(())
    }

    fn move_up(&self) -> Result<()> {
        let failed = |error| Error::file("write", &self.destination, error);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let to = self.destination.join(entry.file_name());
            if fs::symlink_metadata(&to).is_ok() {
                return Err(Error::DestinationExists { path: to });
            }
            fs::rename(entry.path(), &to).map_err(|error| Error::file("rename to", &to, error))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.done {
            remove(&self.path);
        }
    }
}

/// Removes what a killed restore left in the destination: folders of this name, mode and owner that no process has locked.
fn clear_inside(destination: &Path, cleared: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(destination).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(SUFFIX));
        let is_staging = digits.is_some_and(|d| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        let ours = |meta: fs::Metadata| {
            meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o777 == 0o700
        };
        if !is_staging || !entry.metadata().is_ok_and(ours) {
            continue;
        }
        let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
        let folder =
            OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(entry.path());
        // The lock is held until the folder is gone.
        if let Ok(folder) = folder
            && folder.try_lock().is_ok()
        {
            remove(&entry.path());
            if fs::symlink_metadata(entry.path()).is_err() {
                cleared.push(entry.path());
            }
        }
    }
}

/// Removes a staging folder, also one with read-only folders in it.
fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_ok() {
        return;
    }
    // The owner can't empty a folder that was restored as read-only before it is writable again.
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        drop(fs::set_permissions(&folder, Permissions::from_mode(0o700)));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
    drop(fs::remove_dir_all(path));
}

/// True for an empty folder, false if nothing is there.
fn is_empty_folder(destination: &Path) -> Result<bool> {
    match fs::metadata(destination) {
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && fs::symlink_metadata(destination).is_err() =>
        {
            Ok(false)
        }
        Ok(meta) if meta.is_dir() => {
            let mut entries =
                fs::read_dir(destination).map_err(|error| Error::file("use", destination, error))?;
            if entries.next().is_none() {
                Ok(true)
            } else {
                Err(Error::DestinationExists { path: destination.to_owned() })
            }
        }
        Ok(_) => Err(Error::DestinationExists { path: destination.to_owned() }),
        Err(error) => Err(Error::file("use", destination, error)),
    }
}

fn beside(destination: &Path, suffix: &str) -> Result<PathBuf> {
    let mut name = destination
        .file_name()
        .ok_or_else(|| Error::DestinationExists { path: destination.to_owned() })?
        .to_owned();
    name.push(suffix);
    Ok(destination.with_file_name(name))
}

/// Refuses a restore that can't fit, before it writes anything.
pub(super) fn check_space(destination: &Path, bytes: u64) -> Result<()> {
    let absolute = std::path::absolute(destination).unwrap_or_else(|_| destination.to_owned());
    let Some(there) = absolute.ancestors().find(|path| path.is_dir()) else { return Ok(()) };
    // A file system that does not tell is tried.
    let Ok(stat) = rustix::fs::statvfs(there) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if stat.f_blocks > 0 && bytes > free {
        return Err(Error::NoRoom { path: there.to_owned(), bytes, free });
    }
    Ok(())
}
