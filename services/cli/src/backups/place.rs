//! The destination that a person names: a folder of this machine.

use std::path::{Path, PathBuf};

use bkv_backups::destination::LocalFolder;
use bkv_backups::format::{Id, Tag};

use crate::exit::{Exit, Failure, Outcome};

/// A destination.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Absolute, without links.
    pub path: PathBuf,
    pub folder: LocalFolder,
}

impl Place {
    /// Opens the folder. `exit` is the code if it can't be used.
    pub(crate) fn open(named: &Path, exit: Exit) -> Outcome<Self> {
        let failed = |why: String, remedy: &str| {
            Err(Failure::new(exit, format!("can't use {}: {why}", named.display())).remedy(remedy))
        };
        if is_remote(named) {
            return failed(
                "it is not a folder of this machine".into(),
                "Backups go to a folder: a disk, or the folder that a sync client or `rclone mount` shows.",
            );
        }
        match named.canonicalize() {
            Ok(path) if path.is_dir() => Ok(Self { folder: LocalFolder::new(&path), path }),
            Ok(_) => failed("it is not a folder".into(), "Name the folder that the backups lie in."),
            Err(e) => failed(e.to_string(), "Make it first, or check the path. If it is a disk, mount it."),
        }
    }

    /// True if the writer has a folder here.
    pub(crate) fn has(&self, tag: &Tag, writer: &Id) -> bool {
        self.path.join(tag.folder()).join(hex::encode(writer)).is_dir()
    }

    /// Makes the account's folder, so that a backup of the folder around it leaves it out from the first time on.
    pub(crate) fn make(&self, tag: &Tag) -> Outcome {
        let folder = self.path.join(tag.folder());
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

/// `s3://bucket`, `rclone:remote:path`.
fn is_remote(named: &Path) -> bool {
    let text = named.to_string_lossy();
    let scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_url = text.split_once("://").is_some_and(|(s, _)| !s.is_empty() && s.chars().all(scheme));
    (is_url || text.starts_with("rclone:")) && !named.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_elsewhere_is_no_folder_that_is_missing() {
        for (named, want) in [
            ("s3://bucket/x", true),
            ("webdavs://h/x", true),
            ("rclone:drive:x", true),
            ("a/b", false),
            ("/x:y", false),
            ("://", false),
        ] {
            assert_eq!(is_remote(Path::new(named)), want, "{named}");
        }
        let failure = Place::open(Path::new("s3://bucket"), Exit::CantCreate).unwrap_err();
        assert!(failure.message.contains("not a folder of this machine"), "{failure}");
    }
}
