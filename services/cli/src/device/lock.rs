//! The locks of a state folder. Without the first, two commands both find no key, and the second replaces the key of the first, whose backups then nobody can
//! read. Without the second, two backups take the same number, and a restore takes only one of them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::unwritable;
use crate::exit::{Exit, Failure, Outcome};

/// What a command does while it holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It may change the key.
    KeyChange,
    /// It takes a number for a backup, and makes the backup.
    Backup,
}

impl Purpose {
    /// Its lock's file. A backup can take hours, and the key can be recovered meanwhile.
    const fn file(self) -> &'static str {
        match self {
            Self::KeyChange => "lock",
            Self::Backup => "backup-lock",
        }
    }

    fn busy(self, holder: &str, folder: &Path) -> Failure {
        let folder = folder.display();
        let (what, remedy) = match self {
            Self::KeyChange => (
                format!("another `bkv`{holder} is changing the key of this device's state in {folder}"),
                "Nothing was changed, and no try was spent.",
            ),
            Self::Backup => (
                format!("another `bkv backup`{holder} is at work with this device's state in {folder}"),
                "Two backups at the same time would take the same number. Nothing was written.",
            ),
        };
        Failure::new(Exit::Wait, what).remedy(format!(
            "Wait until it has ended, then repeat the command, or use another folder with --state. {remedy}"
        ))
    }
}

/// A lock of a state folder. The kernel releases it when the process ends.
#[derive(Debug)]
pub(super) struct StateLock(#[allow(dead_code)] File); // held until dropped

impl StateLock {
    /// Takes the lock. Fails with the number of the process that holds it, and does not wait: that process may wait for a password.
    pub(super) fn take(folder: &Path, purpose: Purpose) -> Outcome<Self> {
        let path = folder.join(purpose.file());
        let failed = |e: std::io::Error| unwritable(format!("can't lock {}: {e}", path.display()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(purpose.busy(&holder(&mut file), folder)),
            Err(TryLockError::Error(e)) => {
                return Err(failed(e).remedy(
                    "The file system must have locks (flock). Use a folder on another one with --state.",
                ));
            }
        }
        // The number only makes the message of another process clearer.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}

fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.rewind().and_then(|()| file.take(20).read_to_string(&mut holder));
    holder.parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (process {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_of_a_kind_at_a_time_holds_the_state_and_the_other_names_it() {
        let dir = tempfile::tempdir().unwrap();
        for purpose in [Purpose::KeyChange, Purpose::Backup] {
            let first = StateLock::take(dir.path(), purpose).unwrap();
            let refused = StateLock::take(dir.path(), purpose).unwrap_err();
            assert_eq!(refused.exit, Exit::Wait);
            assert!(refused.message.contains(&format!("process {}", std::process::id())), "{refused}");
            drop(first);
            StateLock::take(dir.path(), purpose).unwrap();
        }
        let _backup = StateLock::take(dir.path(), Purpose::Backup).unwrap();
        StateLock::take(dir.path(), Purpose::KeyChange).expect("the key can be recovered during a backup");
    }
}
