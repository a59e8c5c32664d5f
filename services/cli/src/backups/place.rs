//! The destination that a person names: a folder of this machine, or a place on a server.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bkv_backups::Destination;
use bkv_backups::destination::LocalFolder;
use bkv_backups::format::{Id, Tag};
use bkv_destinations::Cloud;

use super::Remote;
use super::remote::address;
use crate::exit::{Exit, Failure, Outcome};

/// A destination.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Absolute and without links, or the address with the server.
    name: OsString,
    lies: Lies,
}

#[derive(Debug, Clone)]
enum Lies {
    Here(LocalFolder),
    Elsewhere(Arc<Cloud>),
}

impl Place {
    /// Opens the destination. `exit` is the code if it can't be used.
    pub(crate) fn open(named: &Path, remote: &Remote, exit: Exit) -> Outcome<Self> {
        if let Some(address) = address(named)? {
            let cloud = remote.open(&address, exit)?;
            return Ok(Self { name: cloud.place().into(), lies: Lies::Elsewhere(Arc::new(cloud)) });
        }
        let failed = |why: String, remedy: &str| {
            Err(Failure::new(exit, format!("can't use {}: {why}", named.display())).remedy(remedy))
        };
        match named.canonicalize() {
            Ok(path) if path.is_dir() => {
                Ok(Self { lies: Lies::Here(LocalFolder::new(&path)), name: path.into() })
            }
            Ok(_) => failed("it is not a folder".into(), "Name the folder that the backups lie in."),
            Err(_) if named.to_string_lossy().starts_with("rclone:") => failed(
                "it is not a folder of this machine".into(),
                "Use the folder that `rclone mount` shows, or the address of `rclone serve webdav` or `rclone serve s3`.",
            ),
            Err(e) => failed(e.to_string(), "Make it first, or check the path. If it is a disk, mount it."),
        }
    }

    /// True for what a person names by a URL.
    pub(crate) fn is_elsewhere(named: &Path) -> Outcome<bool> {
        Ok(address(named)?.is_some())
    }

    /// What objects are written to and read from.
    pub(crate) fn destination(&self) -> &dyn Destination {
        match &self.lies {
            Lies::Here(folder) => folder,
            Lies::Elsewhere(cloud) => cloud.as_ref(),
        }
    }

    /// The path of a folder of this machine.
    pub(crate) fn path(&self) -> Option<&Path> {
        matches!(self.lies, Lies::Here(_)).then_some(Path::new(&self.name))
    }

    /// The path or the address, for people and programs.
    pub(crate) fn shown(&self) -> String {
        self.name.display().to_string()
    }

    /// By which this device knows the place again.
    pub(crate) fn identity(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// The place that had this identity. None if that can't be told without its server.
    pub(crate) fn before(identity: &[u8]) -> Option<PathBuf> {
        let path = PathBuf::from(OsStr::from_bytes(identity));
        path.is_absolute().then_some(path)
    }

    /// The folders of the account's writers here.
    pub(crate) fn writers(&self, tag: &Tag) -> Outcome<Vec<String>> {
        let folders = self.destination().folders(&tag.folder());
        folders.map_err(|fault| super::failure::at_place(&fault, Exit::NoInput))
    }

    /// The place of a backup in one file, in which no writer has a folder.
    pub(crate) fn of_file(path: &Path) -> Self {
        Self { name: path.into(), lies: Lies::Here(LocalFolder::new(path)) }
    }

    /// True if the writer has a folder here.
    pub(crate) fn has(&self, tag: &Tag, writer: &Id) -> Outcome<bool> {
        Ok(self.writers(tag)?.contains(&hex::encode(writer)))
    }

    /// Makes the account's folder, so that a backup of the folder around it leaves it out from the first time on.
    pub(crate) fn make(&self, tag: &Tag) -> Outcome {
        let Some(path) = self.path() else { return Ok(()) };
        let folder = path.join(tag.folder());
        let made =
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&folder);
        match made {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(Failure::new(Exit::CantCreate, format!("can't make {}: {e}", folder.display()))
                    .remedy("Make the destination writable, or choose another. Nothing was written."))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_elsewhere_is_no_folder_that_is_missing() {
        for (named, want) in [
            ("s3://bucket/x", true),
            ("webdavs://h/x", true),
            ("a/b", false),
            ("/x:y", false),
            ("://", false),
        ] {
            assert_eq!(Place::is_elsewhere(Path::new(named)).unwrap(), want, "{named}");
        }
        let open =
            |named: &str| Place::open(Path::new(named), &Remote::default(), Exit::CantCreate).unwrap_err();
        let failure = open("ftp://h/x");
        assert!(failure.exit == Exit::Usage && failure.message.contains("ftp://"), "{failure}");
        assert!(open("rclone:drive:x").remedy.unwrap().contains("rclone mount"));
        assert!(open("webdav://192.0.2.1/x").remedy.unwrap().contains("--allow-http"));
    }
}
