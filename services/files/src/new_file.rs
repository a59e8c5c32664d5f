//! A new file that has no name until it is whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Mode, Unpublished, parent, sync_folder};

/// A file that is still being written, and that a process which is killed does not leave behind. Where the file system has no files without a name, it has a
/// temporary one, as [`Unpublished`] has.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    #[cfg(target_os = "linux")]
    Nameless(File),
    Named(Unpublished),
}

impl NewFile {
    /// Begins a file for `path`. The folder of `path` must exist.
    pub fn at(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        #[cfg(target_os = "linux")]
        if let Some(file) = linux::nameless(parent(&path))? {
            return Ok(Self { path, content: Content::Nameless(file) });
        }
        let content = Content::Named(Unpublished::beside(&path)?);
        Ok(Self { path, content })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        match &self.content {
            #[cfg(target_os = "linux")]
            Content::Nameless(file) => file,
            Content::Named(file) => file.file.as_file(),
        }
    }

    /// Gives the file its name. If there is one already, it returns `AlreadyExists` and does not change that file. The file is on the disk when this returns.
    pub fn publish(self, mode: Mode) -> io::Result<()> {
        match self.content {
            Content::Named(file) => file.create(mode),
            #[cfg(target_os = "linux")]
            Content::Nameless(mut file) => {
                file.set_permissions(mode.permissions())?;
                file.sync_all()?;
                if linux::name(&file, &self.path)? {
                    return sync_folder(parent(&self.path));
                }
                let mut named = Unpublished::beside(&self.path)?;
                io::Seek::rewind(&mut file)?;
                io::copy(&mut file, &mut named)?;
                named.create(mode)
            }
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.content {
            #[cfg(target_os = "linux")]
            Content::Nameless(file) => file.write(bytes),
            Content::Named(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.content {
            #[cfg(target_os = "linux")]
            Content::Nameless(file) => file.flush(),
            Content::Named(file) => file.flush(),
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd as _;
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
    use rustix::io::Errno;

    /// None if the file system has no files without a name.
    pub(super) fn nameless(folder: &Path) -> io::Result<Option<File>> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Some(File::from(file))),
            // Kernels and file systems without O_TMPFILE see a folder that is opened for writing.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// False if the file system or a missing /proc does not allow it.
    pub(super) fn name(file: &File, path: &Path) -> io::Result<bool> {
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        match linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::NOENT | Errno::XDEV) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
