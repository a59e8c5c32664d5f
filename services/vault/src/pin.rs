//! Remembers a PIN file that the token refused, so that the next start does not offer the same PIN. Automatic restarts (systemd, kubelet) with one
//! wrong file would otherwise lock the token. The note identifies the file. It contains no hash of the PIN, because an attacker could brute-force so
//! few digits.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The note about a refused PIN in the data folder.
pub(crate) struct RefusedPin {
    note: PathBuf,
    pin_file: PathBuf,
}

impl RefusedPin {
    pub(crate) fn new(data: &Path, pin_file: &Path) -> Self {
        Self { note: data.join("pin-refused"), pin_file: pin_file.to_owned() }
    }

    /// Identifies the file by device, inode, length and modification time. A corrected or touched file counts as another.
    fn file(&self) -> Option<String> {
        let m = fs::metadata(&self.pin_file).ok()?;
        Some(format!("{} {} {} {}.{:09}", m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
    }

    /// True if the same file was refused at an earlier start.
    pub(crate) fn is_known(&self) -> bool {
        let file = self.file();
        file.is_some() && fs::read_to_string(&self.note).ok() == file
    }

    /// Records that the token refused the PIN. If the note can't be written, the only cost is another try at the next start.
    pub(crate) fn remember(&self) {
        if let Some(file) = self.file() {
            let folder = self.note.parent().unwrap_or(Path::new("/"));
            if let Err(e) = fs::create_dir_all(folder).and_then(|()| fs::write(&self.note, file)) {
                tracing::warn!(note = %self.note.display(), error = %e, "can't note that this PIN was refused");
            }
        }
    }

    /// Deletes the note, after the token accepted the PIN.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_file(&self.note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_is_known_and_a_corrected_or_touched_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (data, pin) = (dir.path().join("data"), dir.path().join("pin"));
        fs::write(&pin, "1234").unwrap();
        let refused = RefusedPin::new(&data, &pin);
        assert!(!refused.is_known());
        refused.remember();
        assert!(RefusedPin::new(&data, &pin).is_known());
        let note = fs::read_to_string(data.join("pin-refused")).unwrap();
        assert!(!note.contains("1234"));
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
        fs::File::options().write(true).open(&pin).unwrap().set_modified(later).unwrap();
        assert!(!refused.is_known());
        refused.remember();
        assert!(refused.is_known());
        refused.forget();
        assert!(!refused.is_known());
    }
}
