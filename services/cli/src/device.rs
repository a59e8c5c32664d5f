//! The state of this device: its key, the key's account, the series of its backups. Only the owner can read the folder. A file is written beside the old one
//! and renamed, so that a crash leaves either the old or the new one.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use bkv_client::BackupKey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::args::Device;
use crate::exit::{Exit, Failure, Outcome};

/// Where else the key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// In the vault, under a password.
    Password,
    /// On paper, as 64 digits.
    Digits,
}

/// `device.json`.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    #[zeroize(skip)]
    pub mode: Mode,
    key: String,
    /// The account that backups name: the account's pseudonym, or one derived from the digits.
    pub account: String,
    pub lineage: String,
    /// Of this device's backups.
    pub series: String,
    /// Of the newest backup made or restored here.
    pub sequence: u64,
    pub hash: String,
}

impl Kept {
    pub(crate) fn new(
        mode: Mode,
        key: &BackupKey,
        account: &[u8; 32],
        lineage: &[u8; 32],
        series: [u8; 16],
    ) -> Self {
        Self {
            mode,
            key: hex::encode(key.as_bytes()),
            account: hex::encode(account),
            lineage: hex::encode(lineage),
            series: hex::encode(series),
            sequence: 0,
            hash: String::new(),
        }
    }

    pub(crate) fn key(&self) -> Outcome<BackupKey> {
        Ok(BackupKey::from_bytes(&*bytes("key", &self.key)?))
    }

    pub(crate) fn account(&self) -> Outcome<[u8; 32]> {
        bytes("account", &self.account).map(|b| *b)
    }

    pub(crate) fn lineage(&self) -> Outcome<[u8; 32]> {
        bytes("lineage", &self.lineage).map(|b| *b)
    }

    pub(crate) fn series(&self) -> Outcome<[u8; 16]> {
        let bytes = hex::decode(&self.series).ok().and_then(|b| b.try_into().ok());
        bytes.ok_or_else(|| broken("series"))
    }

    /// Parses every field, so that a broken state is reported before a command asks for a password or spends a try.
    fn check(&self) -> Outcome {
        self.key()?;
        self.account()?;
        self.lineage()?;
        self.series()?;
        if !self.hash.is_empty() && self.newest().is_none() {
            return Err(broken("hash"));
        }
        Ok(())
    }

    /// Records the newest backup, unless a newer one is known here.
    pub(crate) fn saw(&mut self, sequence: u64, hash: &[u8; 32]) {
        if sequence >= self.sequence {
            self.sequence = sequence;
            self.hash = hex::encode(hash);
        }
    }

    /// The newest backup known here.
    pub(crate) fn newest(&self) -> Option<(u64, [u8; 32])> {
        let hash: [u8; 32] = hex::decode(&self.hash).ok()?.try_into().ok()?;
        Some((self.sequence, hash))
    }
}

fn bytes(field: &str, text: &str) -> Outcome<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(hex::decode(text).map_err(|_| broken(field))?);
    bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| broken(field))
}

fn broken(field: &str) -> Failure {
    Failure::new(Exit::Config, format!("this device's state: `{field}` does not read"))
        .remedy("Restore the folder from before, or start with an empty one and recover the key.")
}

fn unwritable(what: String) -> Failure {
    Failure::new(Exit::CantCreate, what)
        .remedy("Make the folder of this device's state writable, or use another with --state.")
}

/// The limit on keys put aside. More would be a loop.
const ASIDE: u32 = 1000;

/// The folder.
#[derive(Debug)]
pub(crate) struct DeviceState(PathBuf);

impl DeviceState {
    pub(crate) fn open(device: &Device) -> Outcome<Self> {
        let folder = match &device.state {
            Some(folder) => folder.clone(),
            None => std::env::var_os("XDG_STATE_HOME")
                .map(PathBuf::from)
                .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state")))
                .map(|p| p.join("bkv"))
                .ok_or_else(|| {
                    Failure::new(Exit::Config, "no home folder")
                        .remedy("Say where this device's state is, with --state.")
                })?,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|e| unwritable(format!("can't make {}: {e}", folder.display())))?;
        Ok(Self(folder))
    }

    /// For a command that writes to the state: fails if the folder is not writable, before the command asks for a password or spends a try.
    pub(crate) fn open_for_writing(device: &Device) -> Outcome<Self> {
        let state = Self::open(device)?;
        let probe = state.0.join(format!(".writable.{}", std::process::id()));
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&probe)
            .and_then(|_| fs::remove_file(&probe))
            .map_err(|e| unwritable(format!("can't write in {}: {e}", state.0.display())))?;
        Ok(state)
    }

    /// Where the SDK remembers the newest documents it saw.
    pub(crate) fn memory_path(&self) -> PathBuf {
        self.0.join("memory.json")
    }

    fn path(&self) -> PathBuf {
        self.0.join("device.json")
    }

    pub(crate) fn load(&self) -> Outcome<Option<Kept>> {
        let text = match fs::read(self.path()) {
            Ok(text) => Zeroizing::new(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                return Err(Failure::new(
                    Exit::NoInput,
                    format!("can't read {}: {e}", self.path().display()),
                )
                .remedy("Make it readable, or use another folder with --state."));
            }
        };
        let kept: Kept = serde_json::from_slice(&text).map_err(|_| broken("device.json"))?;
        kept.check()?;
        Ok(Some(kept))
    }

    /// Copies the present key into a folder of its own that `--state` can name, so that its backups stay readable. None if there is no key.
    pub(crate) fn put_aside(&self) -> Outcome<Option<PathBuf>> {
        if self.load()?.is_none() {
            return Ok(None);
        }
        for n in 1..=ASIDE {
            let folder = self.0.join(format!("earlier-{n}"));
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(unwritable(format!("can't make {}: {e}", folder.display()))),
            }
            let aside = Self(folder.clone());
            // A link to the same file, not a copy: the present one is replaced by a rename and never written into.
            fs::hard_link(self.path(), aside.path())
                .and_then(|()| fs::File::open(&folder)?.sync_all())
                .map_err(|e| unwritable(format!("can't write in {}: {e}", folder.display())))?;
            return Ok(Some(folder));
        }
        Err(unwritable(format!("{} holds too many earlier keys", self.0.display())))
    }

    /// The key of this device. Fails with how to get one.
    pub(crate) fn require(&self) -> Outcome<Kept> {
        self.load()?.ok_or_else(|| {
            Failure::new(Exit::NoKey, "this device has no key")
                .remedy("`bkv register` makes one, `bkv recover` gets it back by password, `bkv key enter` by its 64 digits.")
        })
    }

    pub(crate) fn save(&self, kept: &Kept) -> Outcome {
        let failed = |e: std::io::Error| unwritable(format!("can't write {}: {e}", self.path().display()));
        let text = Zeroizing::new(
            serde_json::to_vec(kept).map_err(|e| Failure::new(Exit::Unexpected, e.to_string()))?,
        );
        bkv_files::replace(&self.path(), &text, bkv_files::Mode::Private).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(folder: &std::path::Path) -> DeviceState {
        DeviceState::open(&Device { state: Some(folder.to_owned()) }).unwrap()
    }

    fn kept() -> Kept {
        Kept::new(Mode::Digits, &BackupKey::from_bytes(&[7; 32]), &[1; 32], &[2; 32], [3; 16])
    }

    #[test]
    fn a_state_is_for_its_owner_only_and_reads_as_it_was_written() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let device = state(&dir.path().join("deep/state"));
        assert!(device.load().unwrap().is_none());
        device.save(&kept()).unwrap();
        let mode = |p: PathBuf| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(device.0.clone()), mode(device.path())), (0o700, 0o600));
        let read = device.require().unwrap();
        assert!(read.key().unwrap() == kept().key().unwrap());
        assert_eq!(read.newest(), None);
    }

    #[test]
    fn a_key_that_is_put_aside_is_a_state_of_its_own_and_outlives_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let device = state(dir.path());
        assert_eq!(device.put_aside().unwrap(), None);
        device.save(&kept()).unwrap();
        let aside = device.put_aside().unwrap().unwrap();
        device
            .save(&Kept::new(Mode::Password, &BackupKey::from_bytes(&[8; 32]), &[1; 32], &[2; 32], [3; 16]))
            .unwrap();
        assert!(state(&aside).require().unwrap().key().unwrap() == kept().key().unwrap());
        assert!(device.require().unwrap().key().unwrap() == BackupKey::from_bytes(&[8; 32]));
        assert_ne!(device.put_aside().unwrap(), Some(aside));
    }

    #[test]
    fn a_state_that_is_broken_in_one_field_does_not_load_and_the_field_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let device = state(dir.path());
        device.save(&kept()).unwrap();
        let good: serde_json::Value = serde_json::from_slice(&fs::read(device.path()).unwrap()).unwrap();
        for field in ["key", "account", "lineage", "series", "hash"] {
            let mut bad = good.clone();
            bad[field] = "zz".into();
            fs::write(device.path(), bad.to_string()).unwrap();
            let e = device.load().err().unwrap();
            assert_eq!(e.exit, Exit::Config);
            assert!(e.message.contains(field), "{e}");
        }
    }

    #[test]
    fn a_folder_that_can_not_be_written_is_said_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let e = DeviceState::open_for_writing(&Device { state: Some(file) }).unwrap_err();
        assert_eq!(e.exit, Exit::CantCreate);
        assert!(e.remedy.unwrap().contains("--state"));
        DeviceState::open_for_writing(&Device { state: Some(dir.path().join("new")) }).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 0);
    }

    proptest! {
        /// A broken state is named, never taken for an empty one: that would make a new key over an old one. No digit of the key is in the words.
        #[test]
        fn s38_a_broken_state_is_refused_without_showing_it(
            bytes in proptest::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, to: u8, cut: prop::sample::Index,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let device = state(dir.path());
            device.save(&kept()).unwrap();
            let good = fs::read(device.path()).unwrap();
            let mut changed = good.clone();
            let at = at.index(changed.len());
            changed[at] = to;
            for text in [bytes, good[..cut.index(good.len())].to_vec(), changed] {
                fs::write(device.path(), &text).unwrap();
                match device.require().and_then(|k| k.key().map(drop).and_then(|()| k.account().map(drop)).and_then(|()| k.series().map(drop))) {
                    Ok(()) => {} // one byte changed inside a value: what is derived from it shows it
                    Err(e) => {
                        prop_assert_eq!(e.exit, Exit::Config);
                        prop_assert!(!e.message.contains("0707"), "{}", e.message);
                    }
                }
            }
        }
    }
}
