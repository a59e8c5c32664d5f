//! What a device remembers between runs, so that an attacker can't serve it older documents or an older backup. Nothing here is secret.

use std::path::PathBuf;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The newest of everything seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Remembered {
    /// Lineage, hexadecimal. The numbers below are of this fleet only.
    pub lineage: String,
    /// Admission list.
    pub admission: u64,
    /// Policy.
    pub policy: u64,
    /// The account, hexadecimal, whose newest backup follows.
    pub manifest_account: String,
    /// Sequence of the newest backup, 0 if none.
    pub manifest_sequence: u64,
    /// Its hash, hexadecimal, empty if none.
    pub manifest_hash: String,
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
    /// This program did not write it. It is never overwritten, because it may be the only protection against older documents.
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
}

/// A JSON file, mode 0600, written beside and renamed, so that a crash leaves the old one or the new one.
#[derive(Debug, Clone)]
pub struct FileMemory(PathBuf);

impl FileMemory {
    /// The file at `path`, whose folder must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn io(&self, e: &std::io::Error) -> MemoryError {
        MemoryError::Io { path: self.0.clone(), why: e.to_string() }
    }
}

impl Memory for FileMemory {
    fn load(&self) -> Result<Remembered, MemoryError> {
        match std::fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| MemoryError::Broken { path: self.0.clone(), why: e.to_string() }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Remembered::default()),
            Err(e) => Err(self.io(&e)),
        }
    }

    fn save(&self, remembered: &Remembered) -> Result<(), MemoryError> {
        let bytes = serde_json::to_vec_pretty(remembered)
            .map_err(|e| MemoryError::Broken { path: self.0.clone(), why: e.to_string() })?;
        bkv_files::replace(&self.0, &bytes, bkv_files::Mode::Private).map_err(|e| self.io(&e))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Returns an error for a file that this program did not write, and never overwrites it.
        #[test]
        fn s38_a_broken_memory_is_refused_and_kept(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut: prop::sample::Index) {
            let dir = tempfile::tempdir().unwrap();
            let memory = FileMemory::new(dir.path().join("memory.json"));
            std::fs::write(dir.path().join("memory.json"), &bytes).unwrap();
            let is_json = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
            let broken = matches!(memory.load(), Err(MemoryError::Broken { .. }));
            prop_assert!(broken || is_json);
            prop_assert_eq!(std::fs::read(dir.path().join("memory.json")).unwrap(), bytes);
            let good = Remembered { lineage: "ab".into(), admission: 3, policy: 4, manifest_account: "ef".into(), manifest_sequence: 5, manifest_hash: "cd".into() };
            memory.save(&good).unwrap();
            prop_assert_eq!(memory.load().unwrap(), good);
            let text = std::fs::read(dir.path().join("memory.json")).unwrap();
            std::fs::write(dir.path().join("memory.json"), &text[..cut.index(text.len())]).unwrap();
            prop_assert!(memory.load().is_err(), "half a memory was believed");
        }
    }
}
