//! What a restore that was killed left beside its destination: a folder with plaintext in it. Taken away by the next restore to the same place, if it is
//! provably such a folder (its name, its owner, nobody else's permissions) and no process works in it (its lock).

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::parent;
use super::staging::{SUFFIX, lock, remove};

/// Digits between the destination's name and the suffix.
const DIGITS: usize = 16;

/// Removes them and names them. What can't be removed stays, unnamed: a restore does not need it gone.
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
        // Held until it is gone, so that two who clean up don't meet in it.
        let Some(_held) = lock(&path).filter(|_| ours) else { continue };
        remove(&path);
        if fs::symlink_metadata(&path).is_err() {
            cleared.push(path);
        }
    }
    cleared.sort();
    cleared
}

/// Exactly the names that a restore to `destination` gives its staging folder.
fn is_staging(name: &str, destination: &str) -> bool {
    name.strip_prefix(destination)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.strip_suffix(SUFFIX))
        .is_some_and(|digits| {
            digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
}
