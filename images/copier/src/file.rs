//! Copies one file whole or not at all. So a container that is killed midway leaves no half-written library for the vault to load.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bkv_files::{Mode, Unpublished};

const BUFFER: usize = 256 * 1024;

/// A file was not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The source file can't be read.
    #[error("{} can't be read", .path.display())]
    Read {
        /// The source file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The copy can't be written.
    #[error("{} can't be written", .path.display())]
    Write {
        /// The copy.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Copies `from` to `to` with `mode` and replaces a file that is there. Returns the number of bytes copied.
pub(crate) fn copy(from: &Path, to: &Path, mode: u32) -> Result<u64, FileError> {
    let read = |source| FileError::Read { path: from.to_owned(), source };
    let write = |source| FileError::Write { path: to.to_owned(), source };
    let mut original = File::open(from).map_err(read)?;
    let mut copy = Unpublished::beside(to).map_err(write)?;
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let n = match original.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(read(e)),
        };
        copy.write_all(buffer.get(..n).unwrap_or_default()).map_err(write)?;
        total += n as u64;
    }
    copy.replace(Mode::Bits(mode)).map_err(write)?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn bytes_and_mode_arrive_and_an_older_copy_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let content = vec![7; BUFFER * 2 + 1];
        fs::write(&from, &content).unwrap();
        fs::write(&to, "older").unwrap();
        assert_eq!(copy(&from, &to, 0o555).unwrap(), content.len() as u64);
        assert_eq!(fs::read(&to).unwrap(), content);
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o7777, 0o555);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        copy(&from, &to, 0o555).unwrap();
    }

    #[test]
    fn reading_and_writing_fail_apart_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::write(&from, "x").unwrap();
        let missing = copy(&dir.path().join("none"), &dir.path().join("to"), 0o444);
        assert!(matches!(missing, Err(FileError::Read { .. })));
        assert!(matches!(copy(&from, &dir.path().join("no/to"), 0o444), Err(FileError::Write { .. })));
        fs::create_dir(dir.path().join("folder")).unwrap();
        assert!(matches!(copy(&from, &dir.path().join("folder"), 0o444), Err(FileError::Write { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
