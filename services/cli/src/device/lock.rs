//! The lock that a command holds while it may change the key of a state folder. Without it two commands both find no key, and the second replaces the key
//! of the first, whose backups then nobody can read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::unwritable;
use crate::exit::{Exit, Failure, Outcome};

/// The lock of a state folder. The kernel releases it when the process ends.
#[derive(Debug)]
pub(super) struct KeyLock(#[allow(dead_code)] File); // held until dropped

impl KeyLock {
    /// Takes the lock. Fails with the number of the process that holds it, and does not wait: that process may wait for a password.
    pub(super) fn take(folder: &Path) -> Outcome<Self> {
        let path = folder.join("lock");
        let failed = |e: std::io::Error| unwritable(format!("can't lock {}: {e}", path.display()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy(folder, &mut file)),
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

fn busy(folder: &Path, file: &mut File) -> Failure {
    let mut holder = String::new();
    let _ = file.rewind().and_then(|()| file.take(20).read_to_string(&mut holder));
    let who = holder.parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (process {pid})"));
    Failure::new(
        Exit::Wait,
        format!("another `bkv`{who} is changing the key of this device's state in {}", folder.display()),
    )
    .remedy("Wait until it has ended, then repeat the command, or use another folder with --state. Nothing was changed, and no try was spent.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_at_a_time_changes_the_key_and_the_other_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = KeyLock::take(dir.path()).unwrap();
        let refused = KeyLock::take(dir.path()).unwrap_err();
        assert_eq!(refused.exit, Exit::Wait);
        assert!(refused.message.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        KeyLock::take(dir.path()).unwrap();
    }
}
