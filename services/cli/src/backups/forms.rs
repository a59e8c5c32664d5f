//! What kinds of backups a folder holds: single files that end in `.bkv`, and accounts' folders with series.

use std::path::{Path, PathBuf};

use bkv_backups::format::Tag;

use super::Place;
use crate::exit::{Exit, Failure, Outcome};

/// What lies at a path.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    /// Single files, by name.
    pub files: Vec<PathBuf>,
    /// Folders of accounts with something in them.
    pub accounts: Vec<String>,
}

/// True for the name of an account's folder.
pub(super) fn is_account(name: &str) -> bool {
    let digits = name.strip_prefix(Tag::PREFIX).unwrap_or_default();
    digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A backup that fails early leaves its account's folder empty. A folder that can't be read may hold the newest backups.
fn has_entries(folder: &Path) -> Outcome<bool> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if matches!(e.kind(), NotADirectory | NotFound) => Ok(false),
        Err(e) => Err(unreadable(folder, &e)),
    }
}

fn unreadable(path: &Path, e: &std::io::Error) -> Failure {
    Failure::new(Exit::NoInput, format!("can't read {}: {e}", path.display()))
        .remedy("Check the path and that you may read it. Nothing was written.")
}

impl Forms {
    /// Looks at the names only. A path that is no folder is a single file.
    pub(crate) fn at(path: &Path) -> Outcome<Self> {
        if !path.is_dir() {
            return Ok(Self { files: vec![path.to_owned()], ..Self::default() });
        }
        let entries = std::fs::read_dir(path).map_err(|e| unreadable(path, &e))?;
        let mut forms = Self::default();
        for entry in entries.flatten() {
            let name = entry.file_name();
            if entry.path().extension().is_some_and(|end| end == "bkv") {
                forms.files.push(entry.path());
            } else if name.to_str().is_some_and(is_account) && has_entries(&entry.path())? {
                forms.accounts.extend(name.into_string());
            }
        }
        forms.files.sort_unstable();
        forms.accounts.sort_unstable();
        Ok(forms)
    }

    /// The same of a destination. A server has series only: single files are not sent there.
    pub(crate) fn of(place: &Place) -> Outcome<Self> {
        if let Some(path) = place.path() {
            return Self::at(path);
        }
        let folders = place.destination().folders("");
        let mut accounts = folders.map_err(|fault| super::failure::at_place(&fault, Exit::NoInput))?;
        accounts.retain(|name| is_account(name));
        Ok(Self { accounts, ..Self::default() })
    }

    /// True if this account has series here.
    pub(crate) fn has(&self, tag: &Tag) -> bool {
        self.accounts.contains(&tag.folder())
    }

    /// A sentence about the single files beside the series. None if there are none.
    pub(crate) fn beside(&self, path: &Path) -> Option<String> {
        let newest = self.files.last()?;
        Some(format!(
            "{} also holds {} in single files (.bkv), the last by name {}. This command does not look at them. `bkv restore FILE.bkv --to DIR` restores one.",
            path.display(),
            crate::words::count(self.files.len() as u64, "backup"),
            newest.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_single_files_are_told_apart_and_other_files_are_neither() {
        let dir = tempfile::tempdir().unwrap();
        let account = format!("bkv-{}", "0a".repeat(10));
        let empty = format!("bkv-{}", "0b".repeat(10));
        std::fs::create_dir(dir.path().join(empty)).unwrap();
        for folder in [account.as_str(), "bkv-notes", "bkv-0A0A0A0A0A0A0A0A0A0A", "x"] {
            std::fs::create_dir_all(dir.path().join(folder).join("writer")).unwrap();
        }
        for file in ["b.bkv", "a.bkv", "c.txt"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let forms = Forms::at(dir.path()).unwrap();
        assert_eq!(forms.accounts, [account]);
        assert_eq!(forms.files, [dir.path().join("a.bkv"), dir.path().join("b.bkv")]);
        assert!(forms.beside(dir.path()).unwrap().contains("2 backups in single files"));
        let one = Forms::at(&dir.path().join("c.txt")).unwrap();
        assert_eq!((one.files.len(), one.accounts.len()), (1, 0));
    }
}
