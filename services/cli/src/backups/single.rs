//! A backup in one file, which commands read as they read a destination.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bkv_backups::Library;
use bkv_backups::single::{self, SingleFile};
use bkv_client::BackupKey;

use crate::exit::{Exit, Failure, Outcome};

/// Stands for standard input and output.
pub(crate) const PIPE: &str = "-";

/// The file.
pub(crate) struct Single {
    file: File,
    name: String,
    pub objects: SingleFile,
}

impl Single {
    /// Opens the file with the key that it was made under.
    pub(crate) fn open(file: File, name: String, key: &BackupKey) -> Outcome<Self> {
        let objects = single::open(again(&file, &name)?, &name, key)?.file;
        Ok(Self { file, name, objects })
    }

    /// Its only generation.
    pub(crate) fn library(&self, key: &BackupKey) -> Outcome<Library> {
        Ok(single::open(again(&self.file, &self.name)?, &self.name, key)?.library)
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::NoInput, format!("can't read {name}: {error}"))
        .remedy("Check the path and that you may read it. Nothing was written.")
}

fn again(file: &File, name: &str) -> Outcome<File> {
    file.try_clone().map_err(|error| unreadable(name, &error))
}

/// The backup in one file at this path, or the one that comes through standard input. None if something else is there, such as a file of an earlier version.
pub(crate) fn single_file(from: &Path) -> Outcome<Option<File>> {
    if from.as_os_str() == PIPE {
        // A reader needs any part at any time.
        return Ok(Some(single::spool(&mut std::io::stdin().lock(), &std::env::temp_dir())?));
    }
    // A pipe would block.
    if !std::fs::metadata(from).is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let name = from.display().to_string();
    let file = File::open(from).map_err(|error| unreadable(&name, &error))?;
    let mut first = [0; 4];
    let n = file.read_at(&mut first, 0).map_err(|error| unreadable(&name, &error))?;
    Ok(single::is_single(first.get(..n).unwrap_or_default()).then_some(file))
}

/// How the file is named in messages.
pub(crate) fn shown(from: &Path) -> String {
    if from.as_os_str() == PIPE { "standard input".into() } else { from.display().to_string() }
}
