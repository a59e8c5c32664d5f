//! A destination in memory with faults, a vault in memory, a clock that is set, and trees to back up.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use bkv_backups::backup::{Options, Report, Sizes, Source, Storage, backup};
use bkv_backups::destination::{Destination, Fault, Listed, Meta};
use bkv_backups::format::stream::Shape;
use bkv_backups::format::{Id, Tag};
use bkv_backups::restore::{self, restore};
use bkv_backups::{
    Access, Clock, Error, Expected, Library, Named, NoVault, Outside, Reading, Result, SetLedger, StateFile,
    Vault, VaultFault, Which, Writer, open,
};
use bkv_stream::{BackupKey, Cancel, Control};

static NEVER: std::sync::LazyLock<Cancel> = std::sync::LazyLock::new(Cancel::default);

pub fn control() -> Control<'static> {
    Control { progress: &(), cancel: &NEVER }
}

#[derive(Clone, Debug)]
pub struct Object {
    pub bytes: Vec<u8>,
    pub modified_ms: i64,
}

#[derive(Default)]
pub struct Inner {
    /// All copies of each name.
    pub objects: BTreeMap<String, Vec<Object>>,
    pub calls: u64,
    /// From this call on everything fails. That call, if it writes, leaves half of the object.
    pub dies_at: Option<u64>,
    /// That call leaves nothing instead, as `LocalFolder` does.
    pub dies_whole: bool,
    /// Names for which a write reports success and keeps nothing.
    pub forgets: Option<fn(u64, &str) -> bool>,
    pub writes: u64,
    pub reads: Vec<String>,
    /// A listing shows nothing that was written after this many objects.
    pub lags: bool,
    pub shown: Vec<String>,
    pub extra: Vec<Listed>,
    pub deletes_denied: bool,
    /// Every so many calls the answer is lost: the call was carried out.
    pub loses: Option<u64>,
    pub room: Option<u64>,
    pub now_ms: i64,
}

/// A destination in memory.
#[derive(Default)]
pub struct Memory(pub Mutex<Inner>);

impl Memory {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn call(&self) -> std::result::Result<(MutexGuard<'_, Inner>, bool), Fault> {
        let mut inner = self.lock();
        inner.calls += 1;
        match inner.dies_at {
            Some(at) if inner.calls > at => Err(Fault::Unavailable("killed".into())),
            Some(at) if inner.calls == at => Ok((inner, true)),
            _ => Ok((inner, false)),
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Names of data objects and manifests.
    pub fn objects(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| !name.contains("/ledgers/")).collect()
    }

    pub fn ledgers(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name.contains("/ledgers/")).collect()
    }

    pub fn get(&self, name: &str) -> Vec<u8> {
        self.lock().objects[name][0].bytes.clone()
    }

    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.lock().objects.insert(name.to_owned(), vec![Object { bytes, modified_ms: 0 }]);
    }

    pub fn remove(&self, name: &str) {
        self.lock().objects.remove(name);
    }

    pub fn change(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        change(&mut self.lock().objects.get_mut(name).unwrap()[0].bytes);
    }
}

impl Destination for Memory {
    fn write(&self, name: &str, bytes: &[u8]) -> std::result::Result<(), Fault> {
        let (mut inner, dying) = self.call()?;
        inner.writes += 1;
        if inner.objects.contains_key(name) {
            return Err(Fault::Exists);
        }
        let writes = inner.writes;
        if inner.forgets.is_some_and(|forgets| forgets(writes, name)) {
            return Ok(());
        }
        let used: u64 = inner.objects.values().flatten().map(|object| object.bytes.len() as u64).sum();
        if inner.room.is_some_and(|room| used + bytes.len() as u64 > room) {
            return Err(Fault::Full);
        }
        if dying && inner.dies_whole {
            return Err(Fault::Unavailable("killed".into()));
        }
        let kept = if dying { &bytes[..bytes.len() / 2] } else { bytes };
        let modified_ms = inner.now_ms;
        inner.objects.insert(name.to_owned(), vec![Object { bytes: kept.to_vec(), modified_ms }]);
        let lost = inner.loses.is_some_and(|every| inner.calls % every == 0);
        if dying || lost { Err(Fault::Unavailable("killed".into())) } else { Ok(()) }
    }

    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> std::result::Result<Vec<u8>, Fault> {
        let (mut inner, dying) = self.call()?;
        if dying {
            return Err(Fault::Unavailable("killed".into()));
        }
        inner.reads.push(name.to_owned());
        let object = inner.objects.get(name).and_then(|copies| copies.get(copy)).ok_or(Fault::NotFound)?;
        let length = object.bytes.len() as u64;
        let (start, end) = (range.start.min(length) as usize, range.end.min(length) as usize);
        Ok(object.bytes[start..end].to_vec())
    }

    fn stat(&self, name: &str) -> std::result::Result<Vec<Meta>, Fault> {
        let (inner, _) = self.call()?;
        let copies = inner.objects.get(name).into_iter().flatten();
        Ok(copies.map(|o| Meta { length: o.bytes.len() as u64, modified_ms: Some(o.modified_ms) }).collect())
    }

    fn list(
        &self,
        folder: &str,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> std::result::Result<(), Fault> {
        let (inner, _) = self.call()?;
        let prefix = format!("{folder}/");
        for (name, copies) in inner.objects.iter().filter(|(name, _)| name.starts_with(&prefix)) {
            if inner.lags && !inner.shown.contains(name) {
                continue;
            }
            for object in copies {
                let meta = Meta { length: object.bytes.len() as u64, modified_ms: Some(object.modified_ms) };
                if each(Listed { name: name.clone(), meta }).is_break() {
                    return Ok(());
                }
            }
        }
        for listed in inner.extra.iter().filter(|listed| listed.name.starts_with(&prefix)) {
            if each(listed.clone()).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn folders(&self, folder: &str) -> std::result::Result<Vec<String>, Fault> {
        let (inner, _) = self.call()?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut names: Vec<String> = inner
            .objects
            .keys()
            .filter_map(|name| Some(name.strip_prefix(&prefix)?.split_once('/')?.0.to_owned()))
            .collect();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, name: &str) -> std::result::Result<(), Fault> {
        let (mut inner, dying) = self.call()?;
        if inner.deletes_denied {
            return Err(Fault::Denied("append only".into()));
        }
        inner.objects.remove(name);
        if dying { Err(Fault::Unavailable("killed".into())) } else { Ok(()) }
    }
}

/// A clock that a test sets. It begins a day ahead, so that no file looks freshly changed.
pub struct Now(pub AtomicI64);

impl Now {
    pub fn add(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Now {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
pub struct TestVault(pub Mutex<VaultState>);

#[derive(Default)]
pub struct VaultState {
    pub named: BTreeMap<Id, (Named, Option<bkv_backups::Secret>)>,
    pub away: bool,
    /// The change is made and the answer is lost.
    pub loses_answer: bool,
    /// V can't be changed now.
    pub keeps_v: bool,
    /// The next new V is answered so, and taken later.
    pub withholds: Option<VaultFault>,
    pub withheld: Option<SetLedger>,
    /// What is withheld is taken just before the next change.
    pub takes_before_next: bool,
    pub goes_away_after_withholding: bool,
}

impl VaultState {
    /// Takes what was withheld, if it still fits.
    pub fn take_withheld(&mut self) -> bool {
        let Some(change) = self.withheld.take() else { return false };
        let fits = self.named.get(&change.writer).map(|(named, _)| named.hash) == change.expected;
        if fits {
            self.named.insert(change.writer, (change.new, change.v));
        }
        fits
    }
}

impl Vault for TestVault {
    fn named(&self, writer: &Id) -> std::result::Result<Option<Named>, VaultFault> {
        let state = self.0.lock().unwrap();
        if state.away {
            return Err(VaultFault::Unreachable("away".into()));
        }
        Ok(state.named.get(writer).map(|(named, _)| *named))
    }

    fn set(&self, change: &SetLedger) -> std::result::Result<(), VaultFault> {
        let mut state = self.0.lock().unwrap();
        if state.away {
            return Err(VaultFault::Unreachable("away".into()));
        }
        if state.takes_before_next {
            state.take_withheld();
        }
        let before = state.named.get(&change.writer).cloned();
        let is_old = before.as_ref().is_some_and(|(named, _)| named.counter >= change.new.counter);
        if is_old || before.as_ref().map(|(named, _)| named.hash) != change.expected {
            return Err(VaultFault::Refused { named: before.map(|(named, _)| named) });
        }
        let is_new = |(_, v): &(Named, Option<bkv_backups::Secret>)| change.v.is_some() && change.v != *v;
        let is_new = before.as_ref().is_some_and(is_new);
        if let Some(fault) = state.withholds.take_if(|_| is_new) {
            state.withheld = Some(change.clone());
            state.away = state.goes_away_after_withholding;
            return Err(fault);
        }
        if state.keeps_v && is_new {
            return Err(VaultFault::NotNow("too early".into()));
        }
        let v = change.v.clone().or(before.and_then(|(_, v)| v));
        state.named.insert(change.writer, (change.new, v));
        if state.loses_answer { Err(VaultFault::Unreachable("lost".into())) } else { Ok(()) }
    }
}

/// A device, a destination and a vault.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub memory: Memory,
    pub vault: TestVault,
    pub now: Now,
    pub key: BackupKey,
    pub digits_only: bool,
}

impl Default for Bench {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 + 86_400_000;
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
            memory: Memory::default(),
            vault: TestVault::default(),
            now: Now(AtomicI64::new(now)),
            key: BackupKey::from_bytes(&[7; 32]),
            digits_only: false,
        };
        bench.memory.lock().now_ms = now;
        bench
    }
}

pub fn tag() -> Tag {
    Tag::new(&[1; 32], &[2; 32])
}

pub fn storage() -> Storage {
    Storage {
        shape: Shape::new(256, 4).unwrap(),
        compress: true,
        pad: true,
        in_flight: 2,
        workers: 1,
        sizes: Sizes { blob: 4096, pack_least: 4096, pack_mean: 4096, pack_most: 32_768 },
    }
}

pub fn options(label: &str) -> Options<'static> {
    Options { label: label.into(), host: "laptop".into(), storage: storage(), ..Options::default() }
}

impl Bench {
    pub fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    pub fn state_path(&self, device: &str) -> PathBuf {
        self.dir.path().join(format!("writer-{device}"))
    }

    pub fn outside(&self) -> Outside<'_> {
        let vault: &dyn Vault = if self.digits_only { &NoVault } else { &self.vault };
        Outside { destination: &self.memory, vault, clock: &self.now, key: &self.key, tag: tag() }
    }

    pub fn writer(&self, device: &str) -> Result<Writer<'_>> {
        Writer::open(self.outside(), StateFile::lock(&self.state_path(device), false)?, true)
    }

    pub fn backup_with(&self, device: &str, options: &Options<'_>) -> Result<Report> {
        self.now.add(60_000);
        self.memory.lock().now_ms += 60_000;
        let mut writer = self.writer(device)?;
        backup(&mut writer, Source::Folders(&[self.source()]), options, control())
    }

    pub fn backup(&self, device: &str, label: &str) -> Result<Report> {
        self.backup_with(device, &options(label))
    }

    /// What a new device gets from the vault.
    pub fn expected(&self) -> Vec<Expected> {
        let state = self.vault.0.lock().unwrap();
        let all = state.named.iter();
        all.map(|(writer, (named, v))| Expected {
            writer: *writer,
            named: Some(*named),
            v: v.clone(),
            before: None,
        })
        .collect()
    }

    pub fn access(&self) -> Access<'_> {
        Access { destination: &self.memory, key: &self.key, tag: tag() }
    }

    pub fn library(&self) -> Library {
        let library = open(self.access(), &self.expected(), false).unwrap();
        assert!(library.unreadable.is_empty(), "{:?}", library.unreadable);
        library
    }

    pub fn restore_from(
        &self,
        library: &Library,
        label: &str,
        which: Which,
        to: &Path,
    ) -> Result<restore::Report> {
        let reading = Reading::open(self.access(), library.choose(Some(label), which)?)?;
        restore(&reading, to, &restore::Options { in_flight: 2, ..restore::Options::default() }, control())
    }

    pub fn restore(&self, label: &str, which: Which) -> Result<PathBuf> {
        let to = self.dir.path().join(format!("out-{}", self.memory.lock().calls));
        let library = open(self.access(), &self.expected(), false)?;
        if let Some((_, error)) = { library.unreadable.into_iter().next() } {
            return Err(error);
        }
        let library = open(self.access(), &self.expected(), false)?;
        let report = self.restore_from(&library, label, which, &to)?;
        assert!(report.failed.is_empty() && report.not_kept.is_empty(), "{report:?}");
        Ok(to)
    }

    /// Restores the newest generation and compares it with the source.
    pub fn assert_restores(&self, label: &str) {
        let to = self.restore(label, Which::Latest).unwrap();
        assert_same(&self.source(), &to);
    }
}

/// Bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

/// A small tree: files of all sizes, folders, links.
pub fn fill(root: &Path) {
    fs::create_dir_all(root.join("a/empty")).unwrap();
    fs::create_dir_all(root.join("b")).unwrap();
    fs::write(root.join("a/large"), noise(1, 9000)).unwrap();
    fs::write(root.join("a/text"), "the same line\n".repeat(900)).unwrap();
    for n in 0..40 {
        fs::write(root.join(format!("b/small-{n:02}")), noise(n + 10, 200 + 13 * n as usize)).unwrap();
    }
    fs::write(root.join("b/nothing"), "").unwrap();
    std::os::unix::fs::symlink("../a//large", root.join("b/link")).unwrap();
    fs::hard_link(root.join("a/large"), root.join("b/same")).unwrap();
    fs::set_permissions(root.join("b/small-03"), fs::Permissions::from_mode(0o640)).unwrap();
}

/// Compares names, kinds, contents, modes and times.
pub fn assert_same(a: &Path, b: &Path) {
    let (x, y) = (describe(a), describe(b));
    for (name, line) in &x {
        assert_eq!(Some(line), y.get(name), "{}", name.display());
    }
    assert_eq!(x.keys().collect::<Vec<_>>(), y.keys().collect::<Vec<_>>());
}

pub fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().to_string_lossy().into_owned()
        } else {
            format!("{} {:x}", meta.len(), crc(&fs::read(&path).unwrap()))
        };
        let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        let line = format!(
            "{mode:o} {} {}.{} {links} {content}",
            meta.file_type().is_dir(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        all.insert(path.strip_prefix(root).unwrap().to_owned(), line);
    }
    all
}

fn crc(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Turns an error into its text with its sources.
pub fn text(error: &Error) -> String {
    error.to_string()
}
