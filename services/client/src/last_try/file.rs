//! The open last try as a file of the device: JSON, mode 0600.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bkv_core::id::{AccountId, AttemptId, Generation, Lineage, Ordinal, Time};
use bkv_core::record::KsfParams;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{KeepLastTry, OpenLastTry};
use crate::memory::{MemoryError, check_number};

/// The most bytes of the file.
const MAX: usize = 4096;

/// A file that holds at most one open last try.
#[derive(Debug, Clone)]
pub struct FileLastTry(PathBuf);

/// The number of the file's format.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    lineage: String,
    account: String,
    attempt: String,
    cancel: String,
    secret: String,
    ksf_memory_kib: u32,
    ksf_passes: u32,
    ksf_lanes: u32,
    generation: u64,
    ordinal: u64,
    until_ms: u64,
}

impl FileLastTry {
    /// The file at `path`, whose folder must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn io(&self, e: &std::io::Error) -> MemoryError {
        MemoryError::Io { path: self.0.clone(), why: e.to_string() }
    }

    fn broken(&self, why: impl Into<String>) -> MemoryError {
        MemoryError::Broken { path: self.0.clone(), why: why.into() }
    }

    fn bytes<const N: usize>(&self, field: &str, text: &str) -> Result<[u8; N], MemoryError> {
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| self.broken(format!("`{field}` is not {} hexadecimal digits", 2 * N)))?;
        Ok(bytes)
    }
}

impl KeepLastTry for FileLastTry {
    fn load(&self) -> Result<Option<OpenLastTry>, MemoryError> {
        let text = match std::fs::read(&self.0) {
            Ok(text) => Zeroizing::new(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.io(&e)),
        };
        // A wipe that was cut short leaves zeros.
        if text.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        check_number(&text, FORMAT).map_err(|why| self.broken(why))?;
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|_| self.broken("not JSON of its format"))?;
        Ok(Some(OpenLastTry {
            lineage: Lineage(self.bytes("lineage", &stored.lineage)?),
            account: AccountId(self.bytes("account", &stored.account)?),
            attempt: AttemptId(self.bytes("attempt", &stored.attempt)?),
            cancel: self.bytes("cancel", &stored.cancel)?,
            secret: self.bytes("secret", &stored.secret)?,
            ksf: KsfParams {
                memory_kib: stored.ksf_memory_kib,
                passes: stored.ksf_passes,
                lanes: stored.ksf_lanes,
            },
            generation: Generation(stored.generation),
            ordinal: Ordinal(stored.ordinal),
            until: Time(stored.until_ms),
        }))
    }

    fn keep(&self, open: &OpenLastTry) -> Result<(), MemoryError> {
        let stored = Stored {
            format: FORMAT,
            lineage: hex::encode(open.lineage.0),
            account: hex::encode(open.account.0),
            attempt: hex::encode(open.attempt.0),
            cancel: hex::encode(open.cancel),
            secret: hex::encode(open.secret),
            ksf_memory_kib: open.ksf.memory_kib,
            ksf_passes: open.ksf.passes,
            ksf_lanes: open.ksf.lanes,
            generation: open.generation.0,
            ordinal: open.ordinal.0,
            until_ms: open.until.0,
        };
        // Reserved once: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX));
        serde_json::to_writer(&mut *text, &stored).map_err(|e| self.broken(e.to_string()))?;
        bkv_files::replace(&self.0, &text, bkv_files::Mode::Private).map_err(|e| self.io(&e))
    }

    fn wipe(&self) -> Result<(), MemoryError> {
        let overwritten = OpenOptions::new().write(true).open(&self.0).and_then(|mut file| {
            let len = usize::try_from(file.metadata()?.len()).unwrap_or(MAX).min(MAX);
            file.write_all(&vec![0; len])?;
            file.sync_all()
        });
        match overwritten.and_then(|()| std::fs::remove_file(&self.0)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(self.io(&e)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bkv_golden::Format;
    use proptest::prelude::*;

    use super::super::tests::open;
    use super::*;

    #[test]
    fn a_last_try_is_for_its_owner_only_reads_as_it_was_kept_and_is_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileLastTry::new(dir.path().join("last-try.json"));
        assert_eq!(file.load().unwrap(), None);
        file.keep(&open()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(file.load().unwrap(), Some(open()));
        let link = dir.path().join("link");
        std::fs::hard_link(file.path(), &link).unwrap();
        file.wipe().unwrap();
        assert_eq!(file.load().unwrap(), None);
        assert!(std::fs::read(&link).unwrap().iter().all(|b| *b == 0), "the secret is still on the disk");
        // Power went after the zeros and before the file was removed.
        std::fs::rename(&link, file.path()).unwrap();
        assert_eq!(file.load().unwrap(), None);
        file.wipe().unwrap();
        file.wipe().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    const LAST_TRY: Format = Format {
        name: "last-try",
        oldest: 1,
        number: FORMAT,
        constant: "FORMAT in services/client/src/last_try/file.rs",
    };

    /// S52: a device goes on with a last try that an earlier version has kept.
    #[test]
    fn s52_every_released_last_try_is_read_and_its_format_does_not_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileLastTry::new(dir.path().join("last-try.json"));
        file.keep(&open()).unwrap();
        let made = std::fs::read_to_string(file.path()).unwrap();
        if LAST_TRY.is_wanted() {
            LAST_TRY.keep([("last-try.json", made.as_bytes())]);
        }
        for fixture in LAST_TRY.released() {
            assert_eq!(FileLastTry::new(fixture.join("last-try.json")).load().unwrap(), Some(open()));
        }
        let kept = std::fs::read_to_string(LAST_TRY.present().join("last-try.json")).unwrap();
        LAST_TRY.unchanged("last-try.json", &kept, &made);
        // A number that this version does not know: it is no broken file, and the newer program reads it.
        std::fs::write(file.path(), made.replace("\"format\":1", "\"format\":2")).unwrap();
        let error = file.load().unwrap_err().to_string();
        assert!(error.contains("format 2, and this program knows format 1"), "{error}");
    }

    proptest! {
        #[test]
        fn s38_a_broken_last_try_is_refused(bytes in proptest::collection::vec(1u8.., 1..200), cut: prop::sample::Index) {
            let dir = tempfile::tempdir().unwrap();
            let file = FileLastTry::new(dir.path().join("last-try.json"));
            file.keep(&open()).unwrap();
            let good = std::fs::read(file.path()).unwrap();
            for broken in [&bytes[..], &good[..=cut.index(good.len() - 1)]] {
                std::fs::write(file.path(), broken).unwrap();
                let refused = matches!(file.load(), Err(MemoryError::Broken { .. }));
                prop_assert!(broken == good || refused);
            }
        }
    }
}
