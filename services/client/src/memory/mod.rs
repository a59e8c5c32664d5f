//! What a device remembers between runs, so that an attacker can't serve it older documents or an older backup (S29). Nothing here is secret.

mod file;
mod number;
mod stored;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bkv_core::id::{AccountId, Lineage, PublicKey};
use bkv_stream::{BackupKey, Known};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::sealed::owner_key;
pub use file::FileMemory;
pub(crate) use number::check_number;
use stored::Stored;

/// The newest of everything seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Remembered {
    /// Lineage, hexadecimal. The numbers of admission list and policy are of this fleet only.
    pub lineage: String,
    /// Number of the admission list.
    pub admission: u64,
    /// Number of the policy.
    pub policy: u64,
    /// The newest backup under each key that this device has had, by the public half of the owner key. A new key of the same account counts from 1
    /// again, so the account alone does not identify a series of backups.
    pub backups: BTreeMap<PublicKey, Known>,
    /// Read from a memory of an earlier version, which kept the newest backup of one account and not its key.
    pub unkeyed: Option<(AccountId, Known)>,
}

/// Identifies a backup key of an account, without revealing the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyName {
    account: AccountId,
    owner: PublicKey,
}

impl KeyName {
    /// The name of this key of this account.
    pub fn new(key: &BackupKey, lineage: &Lineage, account: &AccountId) -> Self {
        Self { account: *account, owner: owner_key(key.as_bytes(), lineage, account).public() }
    }
}

impl Remembered {
    /// The newest backup under this key that the device has seen. None if it has seen none: then it can't notice a rollback.
    pub fn newest(&self, name: &KeyName) -> Option<Known> {
        later(self.backups.get(&name.owner).copied(), self.of_account(&name.account))
    }

    /// Takes in a backup under this key, unless the device has seen a newer one.
    pub fn saw(&mut self, name: &KeyName, seen: Known) {
        let newest = later(self.newest(name), Some(seen));
        self.unkeyed.take_if(|(account, _)| *account == name.account);
        self.backups.extend(newest.map(|newest| (name.owner, newest)));
    }

    fn of_account(&self, account: &AccountId) -> Option<Known> {
        self.unkeyed.filter(|(of, _)| of == account).map(|(_, known)| known)
    }
}

/// The one with the higher number. With equal numbers the second.
pub(crate) fn later(first: Option<Known>, second: Option<Known>) -> Option<Known> {
    match (first, second) {
        (Some(first), Some(second)) if first.sequence > second.sequence => Some(first),
        (first, None) => first,
        (_, second) => second,
    }
}

/// The memory can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Reading or writing failed.
    #[error("{}: {why}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The system's error text.
        why: String,
    },
    /// This program did not write it. It is never overwritten, because it may be the only protection against older documents and backups.
    #[error("{}: not a memory of this program: {why}", path.display())]
    Broken {
        /// Path of the file.
        path: PathBuf,
        /// The parser's error text.
        why: String,
    },
}

/// Storage for [`Remembered`].
pub trait Memory: Send + Sync {
    /// The last saved value, or the default if there is none.
    fn load(&self) -> Result<Remembered, MemoryError>;
    /// Saves the value. It is durable before the call returns.
    fn save(&self, remembered: &Remembered) -> Result<(), MemoryError>;
    /// Loads the value, changes it, and saves it if it differs. Storage that several processes share should let only one of them do this at a time.
    fn update(&self, change: &mut dyn FnMut(&mut Remembered)) -> Result<(), MemoryError> {
        let before = self.load()?;
        let mut after = before.clone();
        change(&mut after);
        if after == before { Ok(()) } else { self.save(&after) }
    }
}

/// Keeps the value in this process only, for tests and one-off tools. It can't detect a rollback after a restart.
#[derive(Debug, Default)]
pub struct VolatileMemory(Mutex<Remembered>);

impl Memory for VolatileMemory {
    fn load(&self) -> Result<Remembered, MemoryError> {
        Ok(self.0.lock().clone())
    }
    fn save(&self, remembered: &Remembered) -> Result<(), MemoryError> {
        *self.0.lock() = remembered.clone();
        Ok(())
    }
    fn update(&self, change: &mut dyn FnMut(&mut Remembered)) -> Result<(), MemoryError> {
        change(&mut self.0.lock());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: u8, account: u8) -> KeyName {
        KeyName::new(&BackupKey::from_bytes(&[key; 32]), &Lineage([1; 32]), &AccountId([account; 32]))
    }

    fn known(sequence: u64, hash: u8) -> Known {
        Known { sequence, hash: [hash; 32] }
    }

    #[test]
    fn s29_the_newest_backup_of_each_key_is_kept_and_never_an_older_one() {
        let mut memory = Remembered::default();
        assert_eq!(memory.newest(&name(1, 1)), None);
        for (seen, newest) in
            [(known(5, 1), known(5, 1)), (known(3, 2), known(5, 1)), (known(5, 3), known(5, 3))]
        {
            memory.saw(&name(1, 1), seen);
            assert_eq!(memory.newest(&name(1, 1)), Some(newest));
        }
        // A new key of the same account begins anew, and the old key's backups stay protected.
        assert_eq!(memory.newest(&name(2, 1)), None);
        memory.saw(&name(2, 1), known(1, 4));
        assert_eq!(memory.newest(&name(2, 1)), Some(known(1, 4)));
        assert_eq!(memory.newest(&name(1, 1)), Some(known(5, 3)));
        // The same key for another account is another series.
        assert_eq!(memory.newest(&name(1, 2)), None);
    }

    #[test]
    fn s29_what_an_earlier_version_kept_for_an_account_protects_the_key_that_is_used_first() {
        let mut memory =
            Remembered { unkeyed: Some((AccountId([1; 32]), known(5, 1))), ..Remembered::default() };
        assert_eq!(memory.newest(&name(1, 1)), Some(known(5, 1)));
        assert_eq!(memory.newest(&name(1, 2)), None);
        memory.saw(&name(1, 2), known(9, 2));
        assert!(memory.unkeyed.is_some(), "another account's backup replaced it");
        memory.saw(&name(1, 1), known(2, 2));
        assert_eq!((memory.newest(&name(1, 1)), memory.unkeyed), (Some(known(5, 1)), None));
    }
}
