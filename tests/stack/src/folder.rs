//! Folders that tests back up, compare, copy and damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pseudo-random bytes, the same in every run.
pub fn bytes(n: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(n + 8);
    while out.len() < n {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(n);
    out
}

/// A folder with a nested text and one file of `large` bytes.
#[track_caller]
pub fn tree(at: &Path, large: usize) {
    fs::create_dir_all(at.join("deep")).expect("make a folder");
    fs::write(at.join("deep/text"), "text").expect("write");
    fs::write(at.join("large"), bytes(large)).expect("write");
}

/// Fails the test unless both folders hold the same names with the same contents.
#[track_caller]
pub fn assert_same(a: &Path, b: &Path) {
    let list = |d: &Path| {
        let mut l: Vec<PathBuf> =
            crate::files(d).iter().filter_map(|p| p.strip_prefix(d).ok().map(Path::to_owned)).collect();
        l.sort();
        l
    };
    assert_eq!(list(a), list(b));
    for f in list(a) {
        assert!(fs::read(a.join(&f)).ok() == fs::read(b.join(&f)).ok(), "{} differs", f.display());
    }
}

/// Sorted names in a folder with the hidden ones, so that leftovers of a failed command are found.
#[track_caller]
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("a folder")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Copies a folder with its modes and times.
#[track_caller]
pub fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(done.success(), "cp -a {} {}", from.display(), to.display());
}

/// A small disk, unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a tmpfs of this `size` at a new folder. None if this machine does not let the test mount one.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).ok()?;
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status()
            .ok()?;
        done.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
