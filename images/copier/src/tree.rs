//! Copies files and whole folders. An attacker may have made the image, so this code resolves links itself and limits the number of copied entries.

use std::fmt;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::file::{self, FileError};
use crate::resolve::{self, ResolveError};

/// The limit of copied entries. Folders that link to each other can expand to far more entries than the image has.
const ENTRIES: u64 = 100_000;

/// An error that ends the copying.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// A path can't be resolved or must not be copied.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A file can't be copied.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder can't be listed.
    #[error("{} can't be listed", .path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A folder can't be made.
    #[error("{} can't be written", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A path on the command line is neither a file nor a folder.
    #[error("{} is neither file nor folder", .path.display())]
    Special {
        /// The path.
        path: PathBuf,
    },
    /// More than [`ENTRIES`] entries.
    #[error("more than {ENTRIES} files and folders: name only what the library needs")]
    TooMany,
}

/// An entry of a folder that was left out. The rest of the folder is copied without it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Omitted {
    /// A link whose target does not exist, or a circle of links.
    Dangling(PathBuf),
    /// A link to a folder that contains it.
    Circle(PathBuf),
    /// A socket, pipe or device.
    Special(PathBuf),
    /// The destination itself.
    Destination(PathBuf),
}

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, why) = match self {
            Self::Dangling(path) => (path, "a link to nothing"),
            Self::Circle(path) => (path, "a link to a folder that it lies in"),
            Self::Special(path) => (path, "neither file nor folder"),
            Self::Destination(path) => (path, "where the copies go"),
        };
        write!(f, "/{}: {why}", path.display())
    }
}

/// How much was copied so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    entries: u64,
}

/// Copies from one root into one destination.
pub(crate) struct Tree<'a> {
    root: &'a Path,
    destination: PathBuf,
    left_out: &'a mut dyn FnMut(&Omitted),
    done: Done,
    limit: u64,
}

impl<'a> Tree<'a> {
    /// Creates the destination if it does not exist.
    pub(crate) fn open(
        root: &'a Path,
        destination: &Path,
        left_out: &'a mut dyn FnMut(&Omitted),
    ) -> Result<Self, TreeError> {
        let folder = |source| TreeError::Folder { path: destination.to_owned(), source };
        fs::create_dir_all(destination).map_err(folder)?;
        let destination = destination.canonicalize().map_err(folder)?;
        Ok(Self { root, destination, left_out, done: Done::default(), limit: ENTRIES })
    }

    /// How much was copied so far.
    pub(crate) fn done(&self) -> Done {
        self.done
    }

    /// Copies the file or folder at `path` to the same path below the destination.
    pub(crate) fn copy(&mut self, path: &Path) -> Result<(), TreeError> {
        let place = resolve::resolve(self.root, path)?;
        let metadata = self.look(&place)?;
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(TreeError::Special { path: path.to_owned() });
        }
        let to = self.destination.join(path.strip_prefix("/").unwrap_or(path));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)
                .map_err(|source| TreeError::Folder { path: parent.to_owned(), source })?;
        }
        self.entry(&place, &metadata, &to, &mut Vec::new())
    }

    fn entry(
        &mut self,
        place: &Path,
        metadata: &Metadata,
        to: &Path,
        inside: &mut Vec<PathBuf>,
    ) -> Result<(), TreeError> {
        self.done.entries += 1;
        if self.done.entries > self.limit {
            return Err(TreeError::TooMany);
        }
        // Drop the set-user-id, set-group-id and sticky bits.
        let mode = metadata.permissions().mode() & 0o777;
        if metadata.is_dir() {
            return self.folder(place, mode, to, inside);
        }
        self.done.bytes += file::copy(&self.root.join(place), to, mode)?;
        self.done.files += 1;
        Ok(())
    }

    fn folder(
        &mut self,
        place: &Path,
        mode: u32,
        to: &Path,
        inside: &mut Vec<PathBuf>,
    ) -> Result<(), TreeError> {
        let write = |source| TreeError::Folder { path: to.to_owned(), source };
        let list = |source| TreeError::List { path: Path::new("/").join(place), source };
        match fs::DirBuilder::new().mode(0o700).create(to) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && to.is_dir() => {}
            other => other.map_err(write)?,
        }
        // Make the folder writable until all its entries are copied. An earlier run may have left it read-only.
        fs::set_permissions(to, Permissions::from_mode(mode | 0o700)).map_err(write)?;
        let mut names = fs::read_dir(self.root.join(place))
            .map_err(list)?
            .map(|entry| entry.map(|e| e.file_name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(list)?;
        names.sort();
        inside.push(place.to_owned());
        for name in names {
            let named = place.join(&name);
            match self.within(&named, inside)? {
                Ok((real, metadata)) => self.entry(&real, &metadata, &to.join(&name), inside)?,
                Err(omitted) => (self.left_out)(&omitted),
            }
        }
        inside.pop();
        fs::set_permissions(to, Permissions::from_mode(mode)).map_err(write)
    }

    /// The resolved path and metadata of a folder's entry, or why the entry is left out.
    fn within(
        &self,
        named: &Path,
        inside: &[PathBuf],
    ) -> Result<Result<(PathBuf, Metadata), Omitted>, TreeError> {
        let real = match resolve::resolve(self.root, named) {
            Ok(real) => real,
            Err(ResolveError::Missing { .. } | ResolveError::TooManyLinks { .. }) => {
                return Ok(Err(Omitted::Dangling(named.to_owned())));
            }
            Err(error) => return Err(error.into()),
        };
        if inside.contains(&real) || real.as_os_str().is_empty() {
            return Ok(Err(Omitted::Circle(named.to_owned())));
        }
        if self.root.join(&real) == self.destination {
            return Ok(Err(Omitted::Destination(named.to_owned())));
        }
        let metadata = self.look(&real)?;
        if !metadata.is_dir() && !metadata.is_file() {
            return Ok(Err(Omitted::Special(named.to_owned())));
        }
        Ok(Ok((real, metadata)))
    }

    fn look(&self, place: &Path) -> Result<Metadata, TreeError> {
        self.root
            .join(place)
            .symlink_metadata()
            .map_err(|source| ResolveError::Unreadable { path: Path::new("/").join(place), source }.into())
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;
