//! Files that are on the disk whole or not at all. After a crash or a power cut there is the old file or the new one, never half of one.
//!
//! The new content is written beside its place under a random name, synchronised, renamed, and then the folder is synchronised. The random name is
//! opened with O_EXCL: a file or symbolic link that another user laid there is never opened. A symbolic link at the place itself is replaced and
//! not followed. The folders on the way are the caller's to check.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// A file beside its place that is older than this was left by a process that died: no write takes as long.
const ABANDONED: Duration = Duration::from_hours(1);

/// Who may read a file. The process's umask has no part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 0600: its owner only.
    Private,
    /// 0644: everybody.
    Public,
    /// These bits.
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

/// Writes the file, in place of one that may be there. On the disk when it returns.
pub fn replace(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let mut file = Unpublished::beside(path)?;
    file.write_all(bytes)?;
    file.replace(mode)
}

/// Writes a file that must not be there yet: `AlreadyExists` otherwise, and what is there stays as it is. On the disk when it returns.
pub fn create(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let mut file = Unpublished::beside(path)?;
    file.write_all(bytes)?;
    file.create(mode)
}

/// Gives a complete file or folder tree its name. `from` must be on the disk already. The new name is on the disk when this returns.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(parent(to))
}

/// Puts the folder's entries on the disk: names that were added, renamed or removed.
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
    /// Begins a file that will be at `path`, whose folder must exist.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        remove_abandoned(parent(path), &prefix);
        let file = tempfile::Builder::new().prefix(&prefix).suffix(SUFFIX).tempfile_in(parent(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Gives the file its name, in place of one that may be there. On the disk when it returns.
    pub fn replace(self, mode: Mode) -> io::Result<()> {
        self.settle(mode)?;
        self.file.persist(&self.path).map_err(|e| e.error)?;
        sync_folder(parent(&self.path))
    }

    /// Gives the file its name, which must be free. On the disk when it returns.
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

/// Removes temporary files that a killed writer left. Such a file may hold a secret whose later versions were deleted. A file that can't be removed does not
/// stop the writer.
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

/// The folder of a path; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod files_test;
