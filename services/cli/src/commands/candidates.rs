//! Chooses the file to restore: the newest backup of a folder that can belong to this account. The headers are verified later,
//! when the file is opened, so a forged header can only make a restore fail.

use std::fs::File;
use std::path::{Path, PathBuf};

use bkv_client::BackupKey;
use bkv_stream::{Expect, Header, inspect as read_header};

use crate::exit::{Exit, Failure, Outcome};

/// The files that `restore` was given, with their headers.
#[derive(Debug)]
pub(crate) struct Found {
    from: PathBuf,
    files: Vec<(PathBuf, Header)>,
    folder: bool,
}

/// The file to restore, and the files that were skipped.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub file: PathBuf,
    pub header: Header,
    /// Files of another owner, with that owner.
    pub passed_over: Vec<(PathBuf, &'static str)>,
}

/// Reads the headers. Fails if there is nothing that could be restored.
pub(crate) fn find(from: &Path) -> Outcome<Found> {
    let header = |path: &Path| -> Outcome<Header> {
        let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
        Ok(read_header(&mut file)?)
    };
    if !from.is_dir() {
        let files = vec![(from.to_owned(), header(from)?)];
        return Ok(Found { from: from.to_owned(), files, folder: false });
    }
    let mut files = Vec::new();
    let mut broken = Vec::new();
    for entry in std::fs::read_dir(from).map_err(|e| unreadable(from, &e))?.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "bkv") {
            continue;
        }
        match header(&path) {
            Ok(header) => files.push((path, header)),
            Err(_) => broken.push(path.display().to_string()),
        }
    }
    if files.is_empty() && !broken.is_empty() {
        return Err(Failure::new(
            Exit::Damaged,
            format!("no backup in {} has a header that reads: {}", from.display(), broken.join(", ")),
        )
        .remedy("Fetch them again; nothing was written."));
    }
    if files.is_empty() {
        return Err(Failure::new(Exit::NoInput, format!("no backup in {}", from.display()))
            .remedy("Backups end in .bkv: is this the right folder?"));
    }
    Ok(Found { from: from.to_owned(), files, folder: true })
}

fn unreadable(path: &Path, e: &std::io::Error) -> Failure {
    Failure::new(Exit::NoInput, format!("can't read {}: {e}", path.display()))
        .remedy("Check the path and that you may read it; nothing was written.")
}

impl Found {
    /// The file with the highest number that can belong to this account and, once it is known, to this key. Of two with the same number, the later one.
    pub(crate) fn choose(&self, expect: &Expect, key: Option<&BackupKey>) -> Outcome<Chosen> {
        // The user named one file. `Expect` checks it when it is opened.
        if !self.folder
            && let Some((file, header)) = self.files.first()
        {
            return Ok(Chosen { file: file.clone(), header: header.clone(), passed_over: Vec::new() });
        }
        let mut passed_over = Vec::new();
        let mut best: Option<&(PathBuf, Header)> = None;
        for candidate in &self.files {
            if let Some(whose) = foreign(&candidate.1, expect, key)? {
                passed_over.push((candidate.0.clone(), whose));
                continue;
            }
            let rank = |h: &Header| (h.manifest().sequence, h.manifest().created_ms);
            if best.is_none_or(|b| rank(&candidate.1) > rank(&b.1)) {
                best = Some(candidate);
            }
        }
        passed_over.sort();
        if let Some((file, header)) = best {
            return Ok(Chosen { file: file.clone(), header: header.clone(), passed_over });
        }
        let named: Vec<String> =
            passed_over.iter().map(|(p, whose)| format!("{} ({whose})", p.display())).collect();
        let keys_only = passed_over.iter().all(|(_, whose)| *whose == ANOTHER_KEY);
        let (exit, what) = if keys_only {
            (Exit::WrongKey, "is of this key; check the 64 digits, or take the key of the right account")
        } else {
            (Exit::Damaged, "is this account's")
        };
        Err(Failure::new(exit, format!("no backup in {} {what}: {}", self.from.display(), named.join(", ")))
            .remedy(
                "Is this the right folder, and the right account? Nothing was written, and no try was spent.",
            ))
    }
}

const ANOTHER_KEY: &str = "another key's";

/// Why a header can't belong to this person. None if it can.
fn foreign(header: &Header, expect: &Expect, key: Option<&BackupKey>) -> Outcome<Option<&'static str>> {
    let m = header.manifest();
    if expect.lineage.is_some_and(|l| l != m.lineage) {
        return Ok(Some("another fleet's"));
    }
    if expect.account.is_some_and(|a| a != m.account) {
        return Ok(Some("another account's"));
    }
    // Public values from an unverified header: no secret is compared.
    if let Some(key) = key
        && key.key_check(&m.backup)? != m.key_check
    {
        return Ok(Some(ANOTHER_KEY));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use bkv_stream::{BackupWriter, Manifest};

    use super::*;

    fn file(folder: &Path, name: &str, key: u8, account: u8, sequence: u64) {
        let manifest = Manifest::new([account; 32], [2; 16], sequence, 0);
        let sink = File::create(folder.join(name)).unwrap();
        BackupWriter::new(sink, &BackupKey::from_bytes(&[key; 32]), manifest, 1).unwrap().finish().unwrap();
    }

    #[test]
    fn the_newest_of_this_account_and_key_is_taken_and_the_others_are_named() {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "mine-1.bkv", 1, 1, 1);
        file(dir.path(), "mine-2.bkv", 1, 1, 2);
        file(dir.path(), "theirs.bkv", 3, 9, 7);
        file(dir.path(), "before.bkv", 4, 1, 8);
        std::fs::write(dir.path().join("broken.bkv"), "x").unwrap();
        let found = find(dir.path()).unwrap();
        let mine = Expect { account: Some([1; 32]), ..Expect::default() };
        let key = BackupKey::from_bytes(&[1; 32]);
        let chosen = found.choose(&mine, Some(&key)).unwrap();
        assert!(chosen.file.ends_with("mine-2.bkv"));
        let named: Vec<_> =
            chosen.passed_over.iter().map(|(p, w)| (p.file_name().unwrap().to_str().unwrap(), *w)).collect();
        assert_eq!(named, [("before.bkv", "another key's"), ("theirs.bkv", "another account's")]);
        // Before the recovery of the key, only the account is known.
        assert!(found.choose(&mine, None).unwrap().file.ends_with("before.bkv"));
        let nobody = Expect { account: Some([5; 32]), ..Expect::default() };
        assert_eq!(found.choose(&nobody, None).unwrap_err().exit, Exit::Damaged);
        let typo = BackupKey::from_bytes(&[6; 32]);
        assert_eq!(found.choose(&Expect::default(), Some(&typo)).unwrap_err().exit, Exit::WrongKey);
    }
}
