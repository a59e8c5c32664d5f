//! Staging folders that killed restores left beside their destination. They contain plaintext. The next restore to the same destination removes a
//! folder if its name, owner and permissions show that a restore made it, and its lock shows that no process works in it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::parent;
use super::staging::{SUFFIX, lock, remove};

/// Digits between the destination's name and the suffix.
const DIGITS: usize = 16;

/// Removes the leftovers and returns their paths. A folder that can't be removed stays and is not returned, because it does not disturb a restore.
pub fn clear_leftovers(destination: &Path) -> Vec<PathBuf> {
    let Some(name) = destination.file_name().and_then(|n| n.to_str()) else { return Vec::new() };
    let owner = rustix::process::geteuid().as_raw();
    let mut cleared = Vec::new();
    for entry in fs::read_dir(parent(destination)).into_iter().flatten().flatten() {
        let path = parent(destination).join(entry.file_name());
        if !entry.file_name().to_str().is_some_and(|n| is_staging(n, name)) {
            continue;
        }
        let ours = fs::symlink_metadata(&path)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == owner && meta.mode() & 0o777 == 0o700);
        // The lock is held until the folder is gone, so that two processes don't remove it at the same time.
        let Some(_held) = lock(&path).filter(|_| ours) else { continue };
        remove(&path);
        if fs::symlink_metadata(&path).is_err() {
            cleared.push(path);
        }
    }
    cleared.sort();
    cleared
}

/// True for the names that a restore to `destination` gives its staging folder.
fn is_staging(name: &str, destination: &str) -> bool {
    name.strip_prefix(destination)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.strip_suffix(SUFFIX))
        .is_some_and(|digits| {
            digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
}
