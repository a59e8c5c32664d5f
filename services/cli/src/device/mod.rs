//! The folder with this device's state: `device.json` with the key, the SDK's `memory.json` with the newest documents and backups, and `last-try.json` while a
//! last try may be open, `token-key.pem` if there is a key to which tokens are bound. Only the owner can read the folder. A file is written beside the old one and renamed, so that a crash leaves either the old or the new one.

mod kept;
mod lock;
mod token_key;

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bkv_client::{Error, FileLastTry, FileMemory, Memory as _};
use bkv_stream::Known;
use zeroize::Zeroizing;

use crate::args::Device;
use crate::exit::{Exit, Failure, Outcome};
pub(crate) use kept::{Kept, Mode};
use lock::{Purpose, StateLock};

fn unwritable(what: String) -> Failure {
    Failure::new(Exit::CantCreate, what)
        .remedy("Make the folder of this device's state writable, or use another with --state.")
}

/// The folder for state of the XDG Base Directory Specification. It says that a variable that is empty or no absolute path counts as unset: the key would
/// otherwise lie in whatever folder the command runs in.
fn state_home_of(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
}

/// The user's folder for state.
pub(crate) fn state_home() -> Option<PathBuf> {
    state_home_of(|name| std::env::var_os(name))
}

fn default_folder(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    Some(state_home_of(variable)?.join("bkv"))
}

/// The most earlier keys, and the most files of one name, that the folder keeps. Only a loop would make more.
const ASIDE: u32 = 1000;

/// The folder.
#[derive(Debug)]
pub(crate) struct DeviceState(PathBuf, #[allow(dead_code)] Option<StateLock>); // holds the lock until it is dropped

impl DeviceState {
    pub(crate) fn open(device: &Device) -> Outcome<Self> {
        let folder = match &device.state {
            Some(folder) => folder.clone(),
            None => default_folder(|name| std::env::var_os(name)).ok_or_else(|| {
                Failure::new(Exit::Config, "no home folder")
                    .remedy("Name the folder of this device's state with --state.")
            })?,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|e| unwritable(format!("can't make {}: {e}", folder.display())))?;
        Ok(Self(folder, None))
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

    /// For a command that may change the key: no other command changes it until this state is dropped.
    pub(crate) fn open_for_key_change(device: &Device) -> Outcome<Self> {
        let mut state = Self::open_for_writing(device)?;
        state.1 = Some(StateLock::take(&state.0, Purpose::KeyChange)?);
        Ok(state)
    }

    /// For a backup: no other backup takes a number of this state until it is dropped.
    pub(crate) fn open_for_backup(device: &Device) -> Outcome<Self> {
        let mut state = Self::open_for_writing(device)?;
        state.1 = Some(StateLock::take(&state.0, Purpose::Backup)?);
        Ok(state)
    }

    /// Where the SDK remembers the newest documents and backups that it saw.
    pub(crate) fn memory(&self) -> FileMemory {
        FileMemory::new(self.memory_path())
    }

    /// Where a last try is kept while it may be open.
    pub(crate) fn last_try(&self) -> FileLastTry {
        FileLastTry::new(self.0.join("last-try.json"))
    }

    /// The folder of the state.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// Renames a file of the state. It overwrites no file that was set aside before.
    pub(crate) fn set_aside(&self, file: &Path) -> Outcome<PathBuf> {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let failed = |e: std::io::Error| unwritable(format!("can't rename {}: {e}", file.display()));
        for n in 1..=ASIDE {
            let aside = self.0.join(format!("{name}.aside-{n}"));
            match fs::hard_link(file, &aside) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(failed(e)),
            }
            fs::remove_file(file).and_then(|()| fs::File::open(&self.0)?.sync_all()).map_err(failed)?;
            return Ok(aside);
        }
        Err(unwritable(format!("{} holds too many files that were set aside", self.0.display())))
    }

    /// Where the states of this device's writers are.
    pub(crate) fn writers(&self) -> PathBuf {
        self.0.join("writers")
    }

    fn memory_path(&self) -> PathBuf {
        self.0.join("memory.json")
    }

    /// The newest backup under this key that the device has seen (S29).
    pub(crate) fn newest(&self, kept: &Kept) -> Outcome<Option<Known>> {
        let mut remembered = self.memory().load().map_err(Error::from)?;
        let name = kept.name()?;
        if let Some(earlier) = kept.earlier_newest() {
            remembered.saw(&name, earlier);
        }
        Ok(remembered.newest(&name))
    }

    /// Remembers a backup under this key, unless the device has seen a newer one.
    pub(crate) fn saw(&self, kept: &Kept, seen: Known) -> Outcome {
        let name = kept.name()?;
        Ok(self.memory().update(&mut |remembered| remembered.saw(&name, seen)).map_err(Error::from)?)
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
        let kept = Kept::read(&text)?;
        if let Some(earlier) = kept.earlier_newest() {
            // Before a recovery can bring another key of this account. If it fails here, `newest` reads both files, and `save` fails.
            let _ = self.saw(&kept, earlier);
        }
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
            let aside = Self(folder.clone(), None);
            // Links to the same files, not copies: the present ones are replaced by a rename and never written into. The memory and the writers come first: a
            // key without them would not notice an older backup, and without V its series do not open.
            fs::hard_link(self.memory_path(), aside.memory_path())
                .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
                .and_then(|()| link_writers(&self.writers(), &aside.writers()))
                .and_then(|()| fs::hard_link(self.path(), aside.path()))
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
        if let Some(earlier) = kept.earlier_newest() {
            self.saw(kept, earlier)?;
        }
        let failed = |e: std::io::Error| unwritable(format!("can't write {}: {e}", self.path().display()));
        let text = Zeroizing::new(
            serde_json::to_vec(kept).map_err(|e| Failure::new(Exit::Unexpected, e.to_string()))?,
        );
        bkv_files::replace(&self.path(), &text, bkv_files::Mode::Private).map_err(failed)
    }
}

/// Links the states of all writers, without their locks.
fn link_writers(from: &Path, to: &Path) -> std::io::Result<()> {
    let folders = match fs::read_dir(from) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        folders => folders?,
    };
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for folder in folders {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        let to = to.join(folder.file_name());
        fs::DirBuilder::new().mode(0o700).create(&to)?;
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            if file.path().extension().is_none_or(|end| end != "lock") {
                fs::hard_link(file.path(), to.join(file.file_name()))?;
            }
        }
        fs::File::open(&to)?.sync_all()?;
    }
    fs::File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use bkv_client::BackupKey;
    use bkv_golden::Format;
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
        assert_eq!(device.newest(&read).unwrap(), None);
    }

    const DEVICE: Format = Format {
        name: "device",
        oldest: 1,
        number: kept::FORMAT,
        constant: "FORMAT in services/cli/src/device/kept.rs",
    };

    /// S52: an upgraded device still has its key.
    #[test]
    fn s52_every_released_device_file_is_read_and_its_format_does_not_change() {
        let dir = tempfile::tempdir().unwrap();
        let device = state(dir.path());
        device.save(&kept()).unwrap();
        let made = fs::read_to_string(device.path()).unwrap();
        if DEVICE.is_wanted() {
            DEVICE.keep([("device.json", made.as_bytes())]);
        }
        let is = |read: &Kept| {
            let ids = (read.mode, read.account().unwrap(), read.lineage().unwrap(), read.series().unwrap());
            read.key().unwrap() == kept().key().unwrap() && ids == (Mode::Digits, [1; 32], [2; 32], [3; 16])
        };
        for fixture in DEVICE.released() {
            let text = fs::read(fixture.join("device.json")).unwrap();
            assert!(is(&Kept::read(&text).unwrap()), "{}", fixture.display());
        }
        let kept = fs::read_to_string(DEVICE.present().join("device.json")).unwrap();
        DEVICE.unchanged("device.json", &kept, &made);
        fs::write(device.path(), made.replace("\"format\":1", "\"format\":2")).unwrap();
        let e = device.load().err().unwrap();
        assert!(e.exit == Exit::Config && e.message.contains("format 2"), "{e}");
    }

    #[test]
    fn the_state_never_lies_in_the_folder_in_which_the_command_runs() {
        for (xdg, home, want) in [
            (Some("/x"), Some("/h"), Some("/x/bkv")),
            (Some(""), Some("/h"), Some("/h/.local/state/bkv")),
            (Some("x"), Some("/h"), Some("/h/.local/state/bkv")),
            (None, Some("/h"), Some("/h/.local/state/bkv")),
            (None, Some(""), None),
            (None, None, None),
        ] {
            let variable = |name: &str| if name == "HOME" { home } else { xdg }.map(Into::into);
            assert_eq!(default_folder(variable), want.map(PathBuf::from), "{xdg:?} {home:?}");
        }
    }

    #[test]
    fn a_key_that_is_put_aside_is_a_state_of_its_own_and_outlives_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let device = state(dir.path());
        assert_eq!(device.put_aside().unwrap(), None);
        device.save(&kept()).unwrap();
        let (known, first) = (Known { sequence: 7, hash: [7; 32] }, Known { sequence: 1, hash: [1; 32] });
        device.saw(&kept(), known).unwrap();
        let next = Kept::new(Mode::Password, &BackupKey::from_bytes(&[8; 32]), &[1; 32], &[2; 32], [3; 16]);
        device.saw(&next, first).unwrap();
        let writer = device.writers().join("a");
        fs::create_dir_all(&writer).unwrap();
        for file in ["state", "state.lock", "place"] {
            fs::write(writer.join(file), "old").unwrap();
        }
        let aside = device.put_aside().unwrap().unwrap();
        bkv_files::replace(&writer.join("state"), b"new", bkv_files::Mode::Private).unwrap();
        let kept_writer = aside.join("writers/a");
        assert_eq!(fs::read(kept_writer.join("state")).unwrap(), b"old");
        assert!(kept_writer.join("place").exists() && !kept_writer.join("state.lock").exists());
        device.save(&next).unwrap();
        assert_eq!(device.newest(&next).unwrap(), Some(first));
        let old = state(&aside).require().unwrap();
        assert!(old.key().unwrap() == kept().key().unwrap());
        assert_eq!(
            state(&aside).newest(&old).unwrap(),
            Some(known),
            "its backups are not protected any more"
        );
        assert!(device.require().unwrap().key().unwrap() == BackupKey::from_bytes(&[8; 32]));
        assert_ne!(device.put_aside().unwrap(), Some(aside));
    }

    /// What an earlier version wrote: the newest backup in `device.json`.
    fn earlier(folder: &std::path::Path, sequence: u64) -> DeviceState {
        let device = state(folder);
        let mut text = serde_json::to_value(kept()).unwrap();
        (text["sequence"], text["hash"]) = (sequence.into(), "07".repeat(32).into());
        fs::write(device.path(), text.to_string()).unwrap();
        device
    }

    #[test]
    fn s29_the_newest_backup_of_an_earlier_versions_state_moves_into_the_memory_and_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let device = earlier(dir.path(), 7);
        let known = Some(Known { sequence: 7, hash: [7; 32] });
        let read = device.require().unwrap();
        assert_eq!(device.newest(&read).unwrap(), known);
        assert_eq!(device.memory().load().unwrap().newest(&read.name().unwrap()), known);
        device.save(&read).unwrap();
        assert!(!fs::read_to_string(device.path()).unwrap().contains("sequence"), "it is kept twice");
        assert_eq!(device.newest(&device.require().unwrap()).unwrap(), known);
        // An older number in `device.json` does not replace the newer one.
        assert_eq!(earlier(dir.path(), 3).require().and_then(|k| device.newest(&k)).unwrap(), known);
    }

    /// S29: `newest` fails rather than forget.
    #[test]
    fn s29_a_memory_that_can_not_be_used_is_an_error_and_device_json_keeps_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let device = earlier(dir.path(), 7);
        fs::write(device.memory_path(), "{").unwrap();
        let before = fs::read(device.path()).unwrap();
        let read = device.require().unwrap();
        for e in [device.newest(&read).unwrap_err(), device.save(&read).unwrap_err()] {
            assert_eq!(e.exit, Exit::Config);
            assert!(e.message.contains("memory.json") && e.remedy.is_some(), "{e}");
        }
        assert_eq!(fs::read(device.path()).unwrap(), before);
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
        /// A broken state is reported. It never counts as an empty one, because a new key would then replace the old one. The error contains no digit of the key.
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
                    Ok(()) => {} // the byte was changed inside a value, and what is derived from the value differs
                    Err(e) => {
                        prop_assert_eq!(e.exit, Exit::Config);
                        prop_assert!(!e.message.contains("0707"), "{}", e.message);
                    }
                }
            }
        }
    }
}
