//! The memory as a file of the device.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::stored::FORMAT;
use super::{Memory, MemoryError, Remembered, check_number};

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

    fn broken(&self, why: impl Into<String>) -> MemoryError {
        MemoryError::Broken { path: self.0.clone(), why: why.into() }
    }

    /// Locks the folder: the file itself is replaced at every change. Some file systems can't lock a folder. There two programs that write at the
    /// same moment may lose one of two changes.
    fn lock(&self) -> Option<File> {
        let folder = self.0.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = File::open(folder).ok()?;
        folder.lock().ok().map(|()| folder)
    }
}

impl Memory for FileMemory {
    fn load(&self) -> Result<Remembered, MemoryError> {
        match std::fs::read(&self.0) {
            Ok(bytes) => {
                check_number(&bytes, FORMAT).map_err(|why| self.broken(why))?;
                // Serde's own text shows values of the file, which may be any file that the user named by mistake.
                let place = |e: serde_json::Error| format!("line {}, column {}", e.line(), e.column());
                let broken = |e| self.broken(format!("{}: not JSON of its format", place(e)));
                serde_json::from_slice(&bytes).map_err(broken)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Remembered::default()),
            Err(e) => Err(self.io(&e)),
        }
    }

    fn save(&self, remembered: &Remembered) -> Result<(), MemoryError> {
        let bytes = serde_json::to_vec_pretty(remembered).map_err(|e| self.broken(e.to_string()))?;
        bkv_files::replace(&self.0, &bytes, bkv_files::Mode::Private).map_err(|e| self.io(&e))
    }

    fn update(&self, change: &mut dyn FnMut(&mut Remembered)) -> Result<(), MemoryError> {
        let _lock = self.lock();
        let before = self.load()?;
        let mut after = before.clone();
        change(&mut after);
        if after == before { Ok(()) } else { self.save(&after) }
    }
}

#[cfg(test)]
mod tests {
    use bkv_core::id::{AccountId, Lineage, PublicKey};
    use bkv_golden::Format;
    use bkv_stream::{BackupKey, Known};
    use proptest::prelude::*;

    use super::super::KeyName;
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
            if broken {
                prop_assert!(memory.update(&mut |seen| seen.admission = 9).is_err());
            }
            prop_assert_eq!(std::fs::read(dir.path().join("memory.json")).unwrap(), bytes);
            let known = Known { sequence: 5, hash: [6; 32] };
            let good = Remembered {
                lineage: "ab".into(),
                admission: 3,
                policy: 4,
                backups: [(PublicKey([7; 32]), known)].into(),
                unkeyed: Some((AccountId([8; 32]), known)),
            };
            memory.save(&good).unwrap();
            prop_assert_eq!(memory.load().unwrap(), good);
            let text = std::fs::read(dir.path().join("memory.json")).unwrap();
            std::fs::write(dir.path().join("memory.json"), &text[..cut.index(text.len())]).unwrap();
            prop_assert!(memory.load().is_err(), "half a memory was believed");
        }
    }

    const MEMORY: Format = Format {
        name: "memory",
        oldest: 1,
        number: FORMAT,
        constant: "FORMAT in services/client/src/memory/stored.rs",
    };

    /// S52: a device still knows its newest backup after an upgrade.
    #[test]
    fn s52_every_released_memory_is_read_and_its_format_does_not_change() {
        let known = |n: u8| Known { sequence: n.into(), hash: [n; 32] };
        let all = Remembered {
            lineage: "ab".into(),
            admission: 3,
            policy: 4,
            backups: [(PublicKey([7; 32]), known(5))].into(),
            unkeyed: Some((AccountId([8; 32]), known(6))),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.json");
        FileMemory::new(&path).save(&all).unwrap();
        let made = std::fs::read_to_string(&path).unwrap();
        if MEMORY.is_wanted() {
            MEMORY.keep([("memory.json", made.as_bytes())]);
        }
        for fixture in MEMORY.released() {
            assert_eq!(FileMemory::new(fixture.join("memory.json")).load().unwrap(), all);
        }
        let kept = std::fs::read_to_string(MEMORY.present().join("memory.json")).unwrap();
        MEMORY.unchanged("memory.json", &kept, &made);
        std::fs::write(&path, made.replace("\"format\": 1", "\"format\": 2")).unwrap();
        let error = FileMemory::new(&path).load().unwrap_err().to_string();
        assert!(error.contains("format 2, and this program knows format 1"), "{error}");
    }

    /// S29: a memory of the format before `backups` still protects its account. One that names a backup and does not decode is refused.
    #[test]
    fn s29_a_memory_of_the_earlier_format_protects_its_account() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.json");
        let memory = FileMemory::new(&path);
        let write = |hash: &str| {
            let text = serde_json::json!({
                "lineage": "ab", "admission": 3, "policy": 4,
                "manifest_account": AccountId([1; 32]).to_string(), "manifest_sequence": 7, "manifest_hash": hash,
            });
            std::fs::write(&path, text.to_string()).unwrap();
        };
        write(&"02".repeat(32));
        let name = KeyName::new(&BackupKey::from_bytes(&[1; 32]), &Lineage([9; 32]), &AccountId([1; 32]));
        let known = Known { sequence: 7, hash: [2; 32] };
        assert_eq!(memory.load().unwrap().newest(&name), Some(known));
        memory.update(&mut |seen| seen.admission = 4).unwrap();
        assert_eq!(memory.load().unwrap().newest(&name), Some(known), "a new list made it forget");
        memory.update(&mut |seen| seen.saw(&name, Known { sequence: 2, hash: [3; 32] })).unwrap();
        let after = memory.load().unwrap();
        assert_eq!((after.newest(&name), after.unkeyed), (Some(known), None));
        write("zz");
        assert!(matches!(memory.load(), Err(MemoryError::Broken { .. })));
    }

    #[test]
    fn changes_by_many_at_once_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.json");
        std::thread::scope(|s| {
            for n in 1..=8u8 {
                let memory = FileMemory::new(&path);
                s.spawn(move || {
                    let known = Known { sequence: n.into(), hash: [n; 32] };
                    memory.update(&mut |seen| seen.backups.extend([(PublicKey([n; 32]), known)])).unwrap();
                });
            }
        });
        assert_eq!(FileMemory::new(&path).load().unwrap().backups.len(), 8);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something is left beside it");
    }
}
