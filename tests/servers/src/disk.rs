//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A small tmpfs, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it at a folder. None if this machine does not let the test mount one: it needs root.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=777"), "tmpfs"]).arg(at);
        let done = mount.stderr(Stdio::null()).status().ok()?;
        done.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
