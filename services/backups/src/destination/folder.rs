//! A folder of this machine as a destination: a disk, or what a sync client watches.
//! An object is written without a name and synced, then it gets its name. So a write that is killed leaves nothing, and append-only folders allow it. Where the file system
//! has no files without a name, it is written under another name and renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
#[cfg(target_os = "linux")]
use std::io::Write as _;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::OFlags;

use super::{Destination, Fault, Listed, Meta};

/// Deepest folder that a listing follows. Objects lie three folders deep.
const DEPTH: usize = 4;

/// Objects as files below a folder, which must exist.
#[derive(Debug, Clone)]
pub struct LocalFolder {
    root: PathBuf,
}

impl LocalFolder {
    /// The destination in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path of an object. The names come from this crate: no part is empty or leads elsewhere.
    fn path(&self, name: &str) -> Result<PathBuf, Fault> {
        let sound = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if !name.split('/').all(sound) {
            return Err(Fault::Other(format!("'{}' is no name of an object", name.escape_debug())));
        }
        Ok(self.root.join(name))
    }

    /// Makes the folders of an object and syncs those that it added a name to.
    fn make_folders(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent().filter(|parent| parent.starts_with(&self.root)) else {
            return Ok(());
        };
        if parent == self.root || parent.is_dir() {
            return Ok(());
        }
        self.make_folders(parent)?;
        match DirBuilder::new().mode(0o700).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => parent.parent().map_or(Ok(()), bkv_files::sync_folder),
        }
    }

    fn open(&self, name: &str) -> Result<File, Fault> {
        // A pipe or a link of that name is no object. Opening a pipe would block.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let path = self.path(name)?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(fault)?;
        if file.metadata().map_err(fault)?.is_file() { Ok(file) } else { Err(Fault::NotFound) }
    }
}

impl Destination for LocalFolder {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.path(name)?;
        self.make_folders(&path).map_err(fault)?;
        // Without the bytes being written first.
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Fault::Exists);
        }
        #[cfg(target_os = "linux")]
        if unnamed(&path, bytes).map_err(fault)? {
            return path.parent().map_or(Ok(()), bkv_files::sync_folder).map_err(fault);
        }
        bkv_files::create(&path, bytes, bkv_files::Mode::Private).map_err(fault)
    }

    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> Result<Vec<u8>, Fault> {
        if copy > 0 {
            return Err(Fault::NotFound);
        }
        let mut file = self.open(name)?;
        file.seek(SeekFrom::Start(range.start)).map_err(fault)?;
        let mut bytes = Vec::new();
        file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).map_err(fault)?;
        Ok(bytes)
    }

    fn stat(&self, name: &str) -> Result<Vec<Meta>, Fault> {
        match fs::symlink_metadata(self.path(name)?) {
            Ok(meta) if meta.is_file() => Ok(vec![describe(&meta)]),
            Ok(_) => Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(fault(error)),
        }
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Fault> {
        let mut open = vec![(self.path(folder)?, folder.to_owned(), 0)];
        while let Some((path, name, depth)) = open.pop() {
            for entry in entries(&path)? {
                let entry = entry.map_err(fault)?;
                // A name of this crate is ASCII.
                let Some(part) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let Ok(meta) = entry.metadata() else { continue };
                let name = format!("{name}/{part}");
                if meta.is_dir() && depth < DEPTH {
                    open.push((entry.path(), name, depth + 1));
                } else if meta.is_file() && each(Listed { name, meta: describe(&meta) }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let path = if folder.is_empty() { self.root.clone() } else { self.path(folder)? };
        let mut names = Vec::new();
        for entry in entries(&path)? {
            let entry = entry.map_err(fault)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.extend(entry.file_name().to_str().map(str::to_owned));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), Fault> {
        match fs::remove_file(self.path(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(error)),
            _ => Ok(()),
        }
    }
}

/// Writes and syncs a file without a name, then names it if the name is free. False if the file system or a missing /proc does not allow it.
#[cfg(target_os = "linux")]
fn unnamed(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, Mode, linkat, openat};
    use rustix::io::Errno;
    use std::os::fd::AsRawFd as _;

    let Some(folder) = path.parent() else { return Ok(false) };
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = match openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        // Kernels and file systems without O_TMPFILE see a folder that is opened for writing.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    file.write_all(bytes)?;
    file.sync_all()?;
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::NOENT | Errno::XDEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The entries of a folder. None if it does not exist.
fn entries(path: &Path) -> Result<impl Iterator<Item = io::Result<fs::DirEntry>>, Fault> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(fault(error)),
    }
}

fn describe(meta: &fs::Metadata) -> Meta {
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Meta { length: meta.len(), modified_ms: modified.and_then(|since| i64::try_from(since.as_millis()).ok()) }
}

#[allow(clippy::needless_pass_by_value)] // as map_err passes it
pub(crate) fn fault(error: io::Error) -> Fault {
    use io::ErrorKind::{
        AlreadyExists, FileTooLarge, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
        StorageFull,
    };
    match error.kind() {
        NotFound => Fault::NotFound,
        AlreadyExists => Fault::Exists,
        StorageFull | QuotaExceeded | FileTooLarge => Fault::Full,
        PermissionDenied | ReadOnlyFilesystem => Fault::Denied(error.to_string()),
        _ => Fault::Other(error.to_string()),
    }
}
