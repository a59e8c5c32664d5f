//! Copies at a second destination: byte for byte, complete, and without the damage of the first.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::ops::{ControlFlow, Range};

use bkv_backups::copy::{Copied, copy};
use bkv_backups::destination::{Destination, Fault, Listed, Meta};
use bkv_backups::prune::{GRACE_MS, condemn, sweep};
use bkv_backups::{Access, Error, Expected, Library, Secret, Standing, Which, open};
use common::*;

fn bench() -> Bench {
    let bench = Bench::default();
    fill(&bench.source());
    bench
}

fn copied(bench: &Bench, to: &Memory) -> bkv_backups::Result<Copied> {
    let library = bench.library();
    copy(bench.access(), &library.histories[0], to, control())
}

fn open_copy(bench: &Bench, to: &Memory) -> Library {
    open(Access { destination: to, ..bench.access() }, &bench.expected(), false).unwrap()
}

fn assert_copy_restores(bench: &Bench, to: &Memory, which: Which, n: u64) {
    let library = open_copy(bench, to);
    assert!(library.unreadable.is_empty(), "{:?}", library.unreadable);
    let access = Access { destination: to, ..bench.access() };
    let reading = bkv_backups::Reading::open(access, library.choose(Some("docs"), which).unwrap()).unwrap();
    let out = bench.dir.path().join(format!("copy-{n}"));
    let options = bkv_backups::restore::Options { in_flight: 2, ..Default::default() };
    bkv_backups::restore::restore(&reading, &out, &options, control()).unwrap();
    assert_same(&bench.source(), &out);
}

/// The copy is byte for byte, a second one writes what is new, and the vault's name leads to its ledger.
#[test]
fn a_copy_has_the_same_objects_and_opens_with_the_same_v() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let to = Memory::default();
    let first = copied(&bench, &to).unwrap();
    assert_eq!((first.generations, first.broken.len(), first.blobs_there), (1, 0, 0));
    for name in to.names() {
        assert!(to.get(&name) == bench.memory.get(&name), "{name}");
    }
    assert_eq!(to.names(), bench.memory.names());
    assert_copy_restores(&bench, &to, Which::Latest, 1);
    fs::write(bench.source().join("b/new"), "new").unwrap();
    bench.backup("a", "docs").unwrap();
    // The vault names a newer ledger than the copy has. The reader reports a rollback.
    let error = &open_copy(&bench, &to).unreadable[0].1;
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    let second = copied(&bench, &to).unwrap();
    assert!(
        second.generations == 2 && second.blobs_there > 0 && second.objects < first.objects,
        "{second:?}"
    );
    assert_copy_restores(&bench, &to, Which::Latest, 2);
    assert_eq!(copied(&bench, &to).unwrap().objects, 4);
}

/// A damaged object is reported and not copied. What does not need it is.
#[test]
fn a_copy_spreads_no_damage() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let mut blobs = 0;
    for (n, name) in bench.memory.objects().into_iter().enumerate() {
        let bytes = bench.memory.get(&name);
        bench.memory.change(&name, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
        let to = Memory::default();
        let report = copied(&bench, &to).unwrap();
        assert_eq!((report.generations, report.broken.len()), (0, 1), "{report:?}");
        assert!(report.broken[0].1.is_damage());
        assert!(!to.names().contains(&name), "{name} was copied");
        bench.memory.put(&name, bytes);
        // Once it is healed at the first destination, the copy is completed.
        let report = copied(&bench, &to).unwrap();
        assert_eq!((report.generations, report.broken.len()), (1, 0), "{report:?}");
        blobs += u64::from(report.blobs_there > 0);
        if n % 8 == 0 {
            assert_copy_restores(&bench, &to, Which::Latest, 100 + n as u64);
        }
    }
    assert!(blobs > 10);
}

/// Two generations share a broken blob: neither is whole at the second destination.
#[test]
fn a_copy_counts_no_generation_whose_blob_is_broken() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let first = bench.memory.objects();
    bench.backup("a", "docs").unwrap();
    let mut shared = 0;
    for name in first {
        bench.memory.change(&name, |bytes| bytes[0] ^= 1);
        let report = copied(&bench, &Memory::default()).unwrap();
        bench.memory.change(&name, |bytes| bytes[0] ^= 1);
        assert_eq!(report.broken.len(), 1);
        shared += u64::from(report.generations == 0);
    }
    assert!(shared > 10, "{shared}");
}

/// Several objects of one name, of which one opens: that one is copied.
#[test]
fn a_copy_takes_the_object_that_opens() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let good: Vec<_> =
        bench.memory.objects().into_iter().map(|n| (n.clone(), bench.memory.get(&n))).collect();
    for name in bench.memory.objects() {
        let mut inner = bench.memory.lock();
        let copies = inner.objects.get_mut(&name).unwrap();
        let mut damaged = copies[0].clone();
        let middle = damaged.bytes.len() / 2;
        damaged.bytes[middle] ^= 1;
        let mut short = copies[0].clone();
        short.bytes.truncate(9);
        copies.insert(0, damaged);
        copies.insert(0, short);
    }
    let to = Memory::default();
    let report = copied(&bench, &to).unwrap();
    assert_eq!((report.generations, report.broken.len()), (1, 0), "{report:?}");
    for (name, bytes) in good {
        assert!(to.get(&name) == bytes, "{name}");
    }
    assert_copy_restores(&bench, &to, Which::Latest, 1);
}

/// Killed at every call of the second destination, full, or lying: the copy before it stays whole, and the next copy ends well.
#[test]
fn a_copy_that_is_killed_at_any_call() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let mut at = 0;
    loop {
        at += 5;
        let to = Memory::default();
        to.lock().dies_at = Some(at);
        to.lock().dies_whole = true;
        let result = copied(&bench, &to);
        to.lock().dies_at = None;
        if result.is_ok() {
            break;
        }
        let report = copied(&bench, &to).unwrap_or_else(|error| panic!("call {at}: {error}"));
        assert_eq!((report.generations, report.broken.len()), (1, 0), "call {at}: {report:?}");
        assert_copy_restores(&bench, &to, Which::Latest, at);
    }
    assert!(at > 20);
    let to = Memory::default();
    to.lock().forgets = Some(|writes, _| writes == 5);
    let error = copied(&bench, &to).unwrap_err();
    assert!(matches!(error, Error::NotKept { .. }), "{error}");
    assert!(to.ledgers().is_empty());
    to.lock().forgets = None;
    to.lock().room = Some(9000);
    let error = copied(&bench, &to).unwrap_err();
    assert!(matches!(error, Error::Destination { fault: Fault::Full, .. }), "{error}");
    to.lock().room = None;
    copied(&bench, &to).unwrap();
    assert_copy_restores(&bench, &to, Which::Latest, 1);
}

/// At a destination that keeps a half object under its final name, or where somebody put one, that object is named and the rest is copied. Once it is deleted, the copy is
/// completed.
#[test]
fn an_object_in_the_way_is_named_and_the_copy_goes_on() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let names = bench.memory.names();
    for (n, name) in names.iter().enumerate().step_by(3) {
        let to = Memory::default();
        let bytes = bench.memory.get(name);
        to.put(name, bytes[..bytes.len() / 2].to_vec());
        let report = copied(&bench, &to).unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_ledger = name.contains("/ledgers/");
        assert_eq!((report.generations, report.broken.len()), (u64::from(is_ledger), 1), "{report:?}");
        let (_, error) = &report.broken[0];
        assert!(matches!(error, Error::Occupied { object } if object == name), "{error}");
        assert!(!to.ledgers().is_empty() && to.get(name).len() == bytes.len() / 2);
        to.remove(name);
        let report = copied(&bench, &to).unwrap();
        assert_eq!((report.generations, report.broken.len()), (1, 0), "{report:?}");
        if n % 12 == 0 {
            assert_copy_restores(&bench, &to, Which::Latest, 200 + n as u64);
        }
    }
}

/// A process that is killed while it writes an object leaves nothing under its name. The limit of a file's size kills the child in the middle of the write.
#[cfg(target_os = "linux")]
#[test]
fn a_killed_write_to_a_folder_leaves_no_object() {
    use std::os::unix::process::ExitStatusExt as _;

    use bkv_backups::destination::{Destination as _, LocalFolder};
    use rustix::process::{Resource, Rlimit, setrlimit};

    const PLACE: &str = "BKV_TEST_KILLED_WRITE";
    let (name, bytes) = ("a/b/object", noise(3, 100_000));
    if let Some(place) = std::env::var_os(PLACE) {
        let most = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(Resource::Core, most(0)).unwrap();
        setrlimit(Resource::Fsize, most(50_000)).unwrap();
        panic!("not killed: {:?}", LocalFolder::new(place).write(name, &bytes));
    }
    let dir = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_write_to_a_folder_leaves_no_object"])
        .env(PLACE, dir.path())
        .output()
        .unwrap();
    assert!(child.status.signal().is_some(), "{child:?}");
    let folder = LocalFolder::new(dir.path());
    assert_eq!(folder.stat(name).unwrap(), []);
    assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 0);
    folder.write(name, &bytes).unwrap();
    assert!(folder.read(name, 0, 0..200_000).unwrap() == bytes);
    assert_eq!(folder.write(name, &bytes), Err(Fault::Exists));
    let link = dir.path().join("a/b/link");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
    assert_eq!(folder.write("a/b/link", &bytes), Err(Fault::Exists));
    assert!(!dir.path().join("elsewhere").exists());
}

/// Forward secrecy reaches copies too: after a prune with a new V a copy from before opens with the V before it only, and a later copy with the new one.
#[test]
fn s54_a_copy_from_before_a_new_v_opens_with_the_v_before() {
    let bench = bench();
    for n in 0..2 {
        fs::write(bench.source().join("a/large"), noise(100 + n, 9000)).unwrap();
        bench.backup("a", "docs").unwrap();
    }
    let to = Memory::default();
    copied(&bench, &to).unwrap();
    let v = bench.expected().remove(0).v;
    let mut writer = bench.writer("a").unwrap();
    let series = writer.ledger().series("docs").unwrap().id;
    condemn(&mut writer, &BTreeSet::from([(series, 1)]), control()).unwrap();
    bench.now.add(GRACE_MS);
    assert!(sweep(&mut writer, true, control()).unwrap().new_v);
    drop(writer);
    let access = Access { destination: &to, ..bench.access() };
    let known = |before| Expected { before, ..bench.expected().remove(0) };
    let opens = |before: &Option<Secret>, accept_older| {
        let library = open(access, &[known(before.clone())], accept_older).unwrap();
        library.histories.first().map(|history| (history.standing, history.ledger.kept.len()))
    };
    assert_eq!(opens(&None, true), None, "the copy opens without the V before");
    assert_eq!(opens(&v, false), None, "an older copy is taken silently");
    assert_eq!(opens(&v, true), Some((Standing::Older, 2)));
    copied(&bench, &to).unwrap();
    assert_eq!(opens(&None, false), Some((Standing::Named, 1)));
    assert_copy_restores(&bench, &to, Which::Latest, 1);
}

/// A condemned generation is at the copy too: whoever takes the prune back there restores it.
#[test]
fn a_copy_has_what_was_condemned() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    fs::write(bench.source().join("a/large"), noise(200, 9000)).unwrap();
    bench.backup("a", "docs").unwrap();
    let all = bench.memory.objects();
    let mut writer = bench.writer("a").unwrap();
    let series = writer.ledger().series("docs").unwrap().id;
    condemn(&mut writer, &BTreeSet::from([(series, 1)]), control()).unwrap();
    drop(writer);
    let to = Memory::default();
    let report = copied(&bench, &to).unwrap();
    assert_eq!((report.generations, report.broken.len()), (1, 0), "{report:?}");
    assert_eq!(to.objects(), all);
}

/// A disk that dies fails to read one object after the other. Each costs itself only, at both places.
#[test]
fn a_copy_leaves_out_what_a_dying_disk_does_not_read() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    for name in bench.memory.objects() {
        let from = Unreadable(&bench.memory, name.clone());
        let library = bench.library();
        let to = Memory::default();
        let access = Access { destination: &from, ..bench.access() };
        let report = copy(access, &library.histories[0], &to, control()).unwrap();
        assert_eq!((report.generations, report.broken.len()), (0, 1), "{name}: {report:?}");
        assert_eq!(to.ledgers().len(), 2, "{name}");
        let second = Unreadable(&to, name.clone());
        let report = copy(bench.access(), &library.histories[0], &second, control()).unwrap();
        assert_eq!((report.generations, report.broken.len()), (0, 1), "{name}: {report:?}");
    }
    // One copy of the ledger is enough.
    let ledger = bench.memory.ledgers().remove(0);
    let from = Unreadable(&bench.memory, ledger);
    let library = open(Access { destination: &from, ..bench.access() }, &bench.expected(), false).unwrap();
    assert_eq!(library.histories.len(), 1);
}

/// A destination of which one object can't be read, as with a bad sector.
struct Unreadable<'a>(&'a Memory, String);

impl Destination for Unreadable<'_> {
    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> Result<Vec<u8>, Fault> {
        if name == self.1 { Err(Fault::Other("bad sector".into())) } else { self.0.read(name, copy, range) }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.0.write(name, bytes)
    }

    fn stat(&self, name: &str) -> Result<Vec<Meta>, Fault> {
        self.0.stat(name)
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Fault> {
        self.0.list(folder, each)
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, Fault> {
        self.0.folders(folder)
    }

    fn delete(&self, name: &str) -> Result<(), Fault> {
        self.0.delete(name)
    }
}
