//! Packs a folder as a tar file in a stable order: each folder before its entries, names sorted by their bytes.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use tar::{Builder, EntryType, Header};

use crate::{
    error::{Error, Result},
    progress::Control,
};

/// Identifies a file or folder: device and inode.
pub type Identity = (u64, u64);

/// How a folder is packed.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// Leave out and report what can't be read, instead of stopping.
    pub skip_unreadable: bool,
    /// Replace a backup file of the same name when the new one is whole.
    pub replace: bool,
    /// Leave these out with all their entries, for instance a folder for backups inside the source.
    pub leave_out: Vec<Identity>,
}

/// Which files were packed and which were left out.
#[derive(Debug, Default)]
pub struct PackReport {
    /// Number of regular files packed.
    pub files: u64,
    /// Total bytes of these files.
    pub bytes: u64,
    /// Unreadable entries that were left out, with the reason.
    pub skipped: Vec<(PathBuf, io::Error)>,
    /// Sockets, pipes and devices, which are never packed.
    pub special: Vec<PathBuf>,
    /// Entries left out because of [`PackOptions::leave_out`].
    pub left_out: Vec<PathBuf>,
    /// Files that changed while they were packed (only with `skip_unreadable`). The archive may have their old content, or a mixture.
    pub changed: Vec<PathBuf>,
}

struct Packer<'a, W: Write> {
    tar: Builder<W>,
    options: &'a PackOptions,
    skip: Option<Identity>,
    control: Control<'a>,
    total: u64,
    report: PackReport,
}

/// Packs the folder `root`. Names in the archive are relative to it. The file `skip` is left out without a report.
pub fn pack(
    root: &Path,
    sink: impl Write,
    options: &PackOptions,
    skip: Option<Identity>,
    control: Control<'_>,
) -> Result<PackReport> {
    let meta = fs::metadata(root).map_err(|source| Error::Unreadable { path: root.to_owned(), source })?;
    if !meta.is_dir() {
        return Err(Error::NotAFolder { path: root.to_owned() });
    }
    let total = measure(root, control)?;
    let mut tar = Builder::new(sink);
    tar.sparse(false);
    let mut packer = Packer { tar, options, skip, control, total, report: PackReport::default() };
    packer.folder(root, Path::new("."), &meta)?;
    packer.tar.into_inner().map_err(Error::from_io)?.flush().map_err(Error::from_io)?;
    Ok(packer.report)
}

/// Total bytes of all files that can be listed. For progress only.
fn measure(folder: &Path, control: Control<'_>) -> Result<u64> {
    control.check()?;
    let mut total = 0_u64;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => total = total.saturating_add(measure(&entry.path(), control)?),
            Ok(meta) if meta.is_file() => total = total.saturating_add(meta.len()),
            _ => {}
        }
    }
    Ok(total)
}

impl<W: Write> Packer<'_, W> {
    fn folder(&mut self, path: &Path, name: &Path, meta: &Metadata) -> Result<()> {
        let Some(names) = self.readable(path, list(path))? else { return Ok(()) };
        let mut header = header(meta, EntryType::Directory);
        header.set_size(0);
        self.tar.append_data(&mut header, name, io::empty()).map_err(Error::from_io)?;
        for child in names {
            self.control.check()?;
            self.entry(&path.join(&child), &name.join(&child))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &Path) -> Result<()> {
        let Some(meta) = self.readable(path, fs::symlink_metadata(path))? else { return Ok(()) };
        let kind = meta.file_type();
        if self.skip == Some((meta.dev(), meta.ino())) {
            return Ok(());
        }
        if self.options.leave_out.contains(&(meta.dev(), meta.ino())) {
            self.report.left_out.push(path.to_owned());
            return Ok(());
        }
        if kind.is_dir() {
            self.folder(path, name, &meta)
        } else if kind.is_symlink() {
            let Some(target) = self.readable(path, fs::read_link(path))? else { return Ok(()) };
            let mut header = header(&meta, EntryType::Symlink);
            header.set_size(0);
            self.tar.append_link(&mut header, name, target).map_err(Error::from_io)
        } else if kind.is_file() {
            self.file(path, name)
        } else {
            self.report.special.push(path.to_owned());
            Ok(())
        }
    }

    fn file(&mut self, path: &Path, name: &Path) -> Result<()> {
        let opened = open(path).and_then(|file| file.metadata().map(|meta| (file, meta)));
        let Some((mut file, meta)) = self.readable(path, opened)? else { return Ok(()) };
        if !meta.is_file() {
            // Another process replaced the file after its metadata was read.
            return Err(Error::Changed { path: path.to_owned() });
        }
        let mut header = header(&meta, EntryType::Regular);
        header.set_size(meta.len());
        let (done, total) = (self.report.bytes, self.total);
        let mut source =
            Exact { file: &mut file, path, left: meta.len(), done, total, control: self.control };
        self.tar.append_data(&mut header, name, &mut source).map_err(Error::from_io)?;
        self.report.files += 1;
        self.report.bytes += meta.len();
        let after = file.metadata().map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        if after.len() != meta.len()
            || (after.mtime(), after.mtime_nsec()) != (meta.mtime(), meta.mtime_nsec())
        {
            if !self.options.skip_unreadable {
                return Err(Error::Changed { path: path.to_owned() });
            }
            self.report.changed.push(path.to_owned());
        }
        self.control.progress.file(path, self.report.files);
        Ok(())
    }

    /// The value, or `None` if the entry is left out because it can't be read.
    fn readable<T>(&mut self, path: &Path, result: io::Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(source) if self.options.skip_unreadable => {
                self.report.skipped.push((path.to_owned(), source));
                Ok(None)
            }
            Err(source) => Err(Error::Unreadable { path: path.to_owned(), source }),
        }
    }
}

fn list(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names: Vec<OsString> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Opens a file without following a link, and without waiting if another process has replaced it by a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn header(meta: &Metadata, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode() & 0o777);
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header
}

/// Reads exactly the length in the tar header, or returns an error with the path.
struct Exact<'a> {
    file: &'a mut File,
    path: &'a Path,
    left: u64,
    done: u64,
    total: u64,
    control: Control<'a>,
}

impl Read for Exact<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.control.check()?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let Some(space) = out.get_mut(..most).filter(|space| !space.is_empty()) else { return Ok(0) };
        let n = match self.file.read(space) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            result => result.map_err(|source| Error::Unreadable { path: self.path.to_owned(), source })?,
        };
        if n == 0 {
            // The file got shorter, but the tar header with its length is already written.
            return Err(Error::Changed { path: self.path.to_owned() }.into());
        }
        self.left -= n as u64;
        self.done += n as u64;
        self.control.progress.bytes(self.done, Some(self.total.max(self.done)));
        Ok(n)
    }
}
