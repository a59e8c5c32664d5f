//! Writes files whole or not at all. After a crash or a power cut there is the old file or the new one, never a part of one.
//!
//! A write puts the content into a file with a random name in the same folder, syncs it, renames it, and syncs the folder. It opens the random name
//! with O_EXCL, so it never opens a file or symbolic link that an attacker put there. It replaces a symbolic link at the target path and does not
//! follow it. The caller must check the folders of the path.

mod new_file;

pub use new_file::NewFile;

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// Age at which a temporary file counts as left behind by a killed process. No write takes this long.
const ABANDONED: Duration = Duration::from_hours(1);

/// The permissions of a file. The process's umask does not change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 0600: only the owner can read it.
    Private,
    /// 0644: every user can read it.
    Public,
    /// These permission bits.
    Bits(u32),
}

impl Mode {
    #[cfg(unix)]
    fn permissions(self) -> Permissions {
        std::os::unix::fs::PermissionsExt::from_mode(match self {
            Self::Private => 0o600,
            Self::Public => 0o644,
            Self::Bits(bits) => bits,
        })
    }
}

/// Writes the file and replaces one that is there. The file is on the disk when this returns.
pub fn replace(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let mut file = Unpublished::beside(path)?;
    file.write_all(bytes)?;
    file.replace(mode)
}

/// Writes a new file. If there is one already, it returns `AlreadyExists` and does not change that file. The file is on the disk when this returns.
pub fn create(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let mut file = Unpublished::beside(path)?;
    file.write_all(bytes)?;
    file.create(mode)
}

/// Renames a complete file or folder. Its content must be on the disk already. The new name is on the disk when this returns.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(parent(to))
}

/// Syncs everything on the file system of this folder. For many new files this is faster than syncing each.
#[cfg(target_os = "linux")]
pub fn sync_file_system(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// Syncs all file systems: this system can't sync one.
#[cfg(not(target_os = "linux"))]
pub fn sync_file_system(_folder: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Syncs the folder, so that added, renamed and removed names are on the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A file that is still being written. Only its owner can read it, and it is removed on drop.
#[derive(Debug)]
pub struct Unpublished {
    file: NamedTempFile,
    path: PathBuf,
}

impl Unpublished {
    /// Begins a file for `path`. The folder of `path` must exist.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        remove_abandoned(parent(path), &prefix);
        let file = tempfile::Builder::new().prefix(&prefix).suffix(SUFFIX).tempfile_in(parent(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Renames the file to its path and replaces one that is there. The file is on the disk when this returns.
    pub fn replace(self, mode: Mode) -> io::Result<()> {
        self.settle(mode)?;
        self.file.persist(&self.path).map_err(|e| e.error)?;
        sync_folder(parent(&self.path))
    }

    /// Renames the file to its path, where no file may be. The file is on the disk when this returns.
    pub fn create(self, mode: Mode) -> io::Result<()> {
        self.settle(mode)?;
        self.file.persist_noclobber(&self.path).map_err(|e| e.error)?;
        sync_folder(parent(&self.path))
    }

    fn settle(&self, mode: Mode) -> io::Result<()> {
        #[cfg(unix)]
        self.file.as_file().set_permissions(mode.permissions())?;
        #[cfg(not(unix))]
        let _ = mode;
        self.file.as_file().sync_all()
    }
}

impl io::Write for Unpublished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

const SUFFIX: &str = ".new";

/// Removes temporary files that a killed writer left. Such a file may contain a secret that was deleted since. An error does not stop the writer.
fn remove_abandoned(folder: &Path, prefix: &std::ffi::OsStr) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        let ours = bytes.starts_with(prefix.as_encoded_bytes()) && bytes.ends_with(SUFFIX.as_bytes());
        let age = || entry.metadata().and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
        if ours && age().is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The folder of a path, or `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod files_test;
