//! What a destination, a crash or a changing source does to a backup and a restore.

use std::collections::BTreeSet;
use std::fs;

use bkv_backups::backup::{Source, backup};
use bkv_backups::destination::{Fault, Listed, Meta, Patient};
use bkv_backups::restore::{self, restore};
use bkv_backups::{
    Access, Error, Expected, Naming, Outside, Reading, Secret, StateFile, Which, Writer, open,
};
use bkv_stream::BackupKey;

use super::common::*;
use super::prune::condemn_numbers;
use super::{bench, the_error};

/// Wrong key, wrong V, damage, a cut, and 'not all here yet' are five answers.
#[test]
fn five_answers() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let writer = bench.expected()[0].writer;
    let ask = |key: &BackupKey, expected: &Expected| {
        let access = Access { key, ..bench.access() };
        let mut library = open(access, std::slice::from_ref(expected), false).unwrap();
        library.unreadable.pop().map(|(_, error)| error)
    };
    let right = bench.expected()[0].clone();
    assert!(ask(&bench.key, &right).is_none());
    // Another key has other names, but the ledger is named by its hash.
    let error = ask(&BackupKey::from_bytes(&[8; 32]), &right).unwrap();
    assert!(matches!(error, Error::WrongKey { .. }), "{error}");
    let error = ask(
        &BackupKey::from_bytes(&[8; 32]),
        &Expected { writer, named: None, v: right.v.clone(), before: None },
    )
    .unwrap();
    assert!(matches!(error, Error::WrongKey { .. }), "{error}");
    for v in [Some(Secret::from_bytes([9; 32])), None] {
        let error = ask(&bench.key, &Expected { v, ..right.clone() }).unwrap();
        assert!(matches!(error, Error::WrongV { .. }), "{error}");
    }
    let intact: Vec<(String, Vec<u8>)> =
        bench.memory.objects().into_iter().map(|name| (name.clone(), bench.memory.get(&name))).collect();
    for (name, bytes) in &intact {
        bench.memory.change(name, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
        let error = the_error(&bench);
        assert!(matches!(&error, Error::Damaged { .. }), "{error}");
        assert!(text(&error).contains(name), "{error} does not name {name}");
        bench.memory.change(name, |bytes| bytes.truncate(bytes.len() - 1));
        let error = the_error(&bench);
        assert!(matches!(&error, Error::NotAllHere { first, .. } if first == name), "{error}");
        bench.memory.remove(name);
        let error = the_error(&bench);
        assert!(matches!(&error, Error::NotAllHere { first, .. } if first == name), "{error}");
        bench.memory.put(name, [&bytes[..], b"x"].concat());
        let error = the_error(&bench);
        assert!(matches!(&error, Error::Damaged { object, .. } if object == name), "{error}");
        bench.memory.put(name, bytes.clone());
    }
    bench.assert_restores("docs");
    // The destination is left as it was: no staging, nothing at the name.
    let left: Vec<_> = fs::read_dir(bench.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".restoring"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Objects that are swapped, of another generation, of another account, or doubled.
#[test]
fn objects_in_the_place_of_others_do_not_open() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let names = bench.memory.objects();
    let by_length = |length: usize| -> Vec<String> {
        names.iter().filter(|name| bench.memory.get(name).len() == length).cloned().collect()
    };
    // Full objects have the same length, so only the tags can tell them apart.
    let full = by_length(1024);
    assert!(full.len() > 5);
    for pair in full.windows(2) {
        let (a, b) = (bench.memory.get(&pair[0]), bench.memory.get(&pair[1]));
        bench.memory.put(&pair[0], b.clone());
        bench.memory.put(&pair[1], a.clone());
        let error = the_error(&bench);
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        bench.memory.put(&pair[0], a);
        bench.memory.put(&pair[1], b);
    }
    let other = Bench { key: BackupKey::from_bytes(&[9; 32]), ..Bench::default() };
    fill(&other.source());
    other.backup("a", "docs").unwrap();
    let foreign = other.memory.objects();
    let foreign =
        foreign.iter().map(|name| other.memory.get(name)).find(|bytes| bytes.len() == 1024).unwrap();
    let mine = bench.memory.get(&full[0]);
    bench.memory.put(&full[0], foreign.clone());
    assert!(matches!(the_error(&bench), Error::Damaged { .. }));
    bench.memory.put(&full[0], mine);
    bench.assert_restores("docs");
    // Google Drive keeps several objects of one name. The one that opens is taken, wherever it stands.
    for name in bench.memory.objects() {
        let mut inner = bench.memory.lock();
        let copies = inner.objects.get_mut(&name).unwrap();
        let mut damaged = copies[0].clone();
        damaged.bytes[70.min(copies[0].bytes.len() / 2)] ^= 1;
        let mut short = copies[0].clone();
        short.bytes.truncate(9);
        copies.insert(0, damaged);
        copies.insert(0, short);
    }
    bench.assert_restores("docs");
}

/// A listing that shows less, or more, changes nothing.
#[test]
fn a_listing_that_lags_or_lies_changes_nothing() {
    let bench = bench();
    bench.memory.lock().lags = true;
    bench.backup("a", "docs").unwrap();
    bench.backup("a", "docs").unwrap();
    bench.memory.lock().extra = vec![Listed {
        name: format!(
            "{}/{}/ledgers/{:016x}-{}-1",
            tag().folder(),
            hex::encode(bench.expected()[0].writer),
            99,
            "ab".repeat(32)
        ),
        meta: Meta { length: 500, modified_ms: None },
    }];
    bench.backup("a", "docs").unwrap();
    let library = open(bench.access(), &bench.expected(), false).unwrap();
    assert_eq!(library.choose(None, Which::Latest).unwrap().kept.number, 3);
    bench.assert_restores("docs");
}

/// A destination that says 'written' and keeps nothing gets no manifest.
#[test]
fn a_destination_that_keeps_nothing_is_found_out() {
    let total = {
        let bench = bench();
        bench.backup("a", "docs").unwrap();
        bench.memory.lock().writes
    };
    assert!(total > 20);
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    fs::write(bench.source().join("more"), noise(77, 9000)).unwrap();
    let kinds: [fn(u64, &str) -> bool; 2] =
        [|writes, _| writes % 7 == 0, |_, name| name.contains("/ledgers/")];
    for kind in kinds {
        bench.memory.lock().forgets = Some(kind);
        let error = bench.backup("a", "docs").unwrap_err();
        assert!(matches!(error, Error::NotKept { .. }), "{error}");
        bench.memory.lock().forgets = None;
        assert_eq!(bench.library().choose(None, Which::Latest).unwrap().kept.number, 1);
    }
    assert_eq!(bench.backup("a", "docs").unwrap().manifest.number, 2);
    bench.assert_restores("docs");
}

/// A quota that ends in the middle.
#[test]
fn a_full_destination_is_reported_and_the_next_run_ends_well() {
    let bench = bench();
    bench.memory.lock().room = Some(12_000);
    let error = bench.backup("a", "docs").unwrap_err();
    assert!(matches!(error, Error::Destination { fault: Fault::Full, .. }), "{error}");
    assert!(text(&error).contains("free some space"), "{error}");
    bench.memory.lock().room = None;
    bench.backup("a", "docs").unwrap();
    bench.assert_restores("docs");
}

/// Answers that are lost: the object is there, and the same bytes are sent again. Nothing is sealed twice.
#[test]
fn a_lost_answer_costs_a_try_and_nothing_else() {
    let bench = bench();
    bench.memory.lock().loses = Some(5);
    let error = bench.backup("a", "docs").unwrap_err();
    assert!(matches!(error, Error::Destination { fault: Fault::Unavailable(_), .. }), "{error}");
    let (pauses, sleep) = ([std::time::Duration::ZERO; 3], |_: std::time::Duration| ());
    let patient = Patient::new(&bench.memory, &pauses, &sleep);
    let outside = Outside { destination: &patient, ..bench.outside() };
    let file = StateFile::lock(&bench.state_path("a"), false).unwrap();
    let mut writer = Writer::open(outside, file, true).unwrap();
    backup(&mut writer, Source::Folders(&[bench.source()]), &options("docs"), control()).unwrap();
    drop(writer);
    bench.assert_restores("docs");
}

/// Killed at every call of a second backup: the first generation is whole, and the same command then ends well.
#[test]
fn a_backup_that_is_killed_anywhere() {
    let (mut killed, mut at) = (0, 0);
    loop {
        at += 1;
        let bench = bench();
        bench.memory.lock().deletes_denied = true;
        bench.backup("a", "docs").unwrap();
        let before = describe(&bench.source());
        fs::write(bench.source().join("a/large"), noise(2, 5000)).unwrap();
        fs::write(bench.source().join("b/new"), "new").unwrap();
        let calls = bench.memory.lock().calls;
        bench.memory.lock().dies_at = Some(calls + at);
        let result = bench.backup("a", "docs");
        bench.memory.lock().dies_at = None;
        if result.is_ok() && !matches!(result.as_ref().unwrap().naming, Naming::NotNamed { .. }) {
            break;
        }
        killed += 1;
        let first = bench.restore("docs", Which::Number(1)).unwrap();
        for (name, line) in describe(&first) {
            assert_eq!(before.get(&name), Some(&line), "call {at}: {}", name.display());
        }
        bench.backup("a", "docs").unwrap_or_else(|error| panic!("call {at}: {error}"));
        bench.assert_restores("docs");
        let numbers: Vec<u64> =
            bench.library().histories[0].ledger.kept.iter().map(|kept| kept.number).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "call {at}: {numbers:?}");
    }
    assert!(killed > 20, "only {killed} calls");
}

/// L5: a blob that is gone is stored again by the next backup.
#[test]
fn l5_a_missing_blob_is_stored_again() {
    let bench = bench();
    let before: BTreeSet<String> = BTreeSet::new();
    bench.backup("a", "docs").unwrap();
    let first: Vec<String> =
        bench.memory.objects().into_iter().filter(|name| !before.contains(name)).collect();
    let mut healed = 0;
    for name in &first {
        let bytes = bench.memory.get(name);
        bench.memory.remove(name);
        let report = bench.backup("a", "docs").unwrap();
        bench.assert_restores("docs");
        healed += 1;
        assert!(report.manifest.is_complete());
        bench.memory.put(name, bytes);
    }
    assert!(healed > 10);
}

/// L7: one damaged file does not cost the rest, and nothing unproved is published.
#[test]
fn l7_keep_going_restores_what_is_proved() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let library = bench.library();
    let choice = library.choose(None, Which::Latest).unwrap();
    let reading = Reading::open(bench.access(), choice).unwrap();
    let whole = reading.verify(None, control()).unwrap();
    let mut damaged = 0;
    for (n, name) in bench.memory.objects().into_iter().enumerate() {
        let bytes = bench.memory.get(&name);
        bench.memory.change(&name, |bytes| bytes[0] ^= 1);
        let to = bench.dir.path().join(format!("keep-{n}"));
        let options = restore::Options { keep_going: true, in_flight: 2, ..restore::Options::default() };
        if let Ok(report) = restore(&reading, &to, &options, control())
            && !report.failed.is_empty()
        {
            damaged += 1;
            let (there, all) = (describe(&to), describe(&bench.source()));
            assert!(
                there.len() < all.len()
                    && there.len() + report.failed.len() + report.not_kept.len() == all.len()
            );
            for name in there.keys().filter(|name| !to.join(name).is_symlink()) {
                let same = fs::read(to.join(name)).ok() == fs::read(bench.source().join(name)).ok();
                assert!(same, "{}", name.display());
            }
            let verified = reading.verify(None, control()).unwrap();
            assert_eq!((verified.broken.len(), verified.blobs), (1, whole.blobs));
        }
        bench.memory.put(&name, bytes);
    }
    assert!(damaged > 5, "{damaged}");
}

/// The source changes while it is read: only that file is affected, it is listed, and the backup is incomplete.
#[test]
fn b04_files_that_change_while_they_are_read_cost_themselves_only() {
    struct Grows<'a>(&'a std::path::Path);
    impl bkv_stream::Progress for Grows<'_> {
        fn file(&self, path: &std::path::Path, _: u64) {
            if path.ends_with("small-00") {
                fs::remove_file(self.0.join("b/small-39")).ok();
            }
        }
        fn bytes(&self, _: u64, _: Option<u64>) {
            let append = fs::OpenOptions::new().append(true).open(self.0.join("a/large"));
            std::io::Write::write_all(&mut append.unwrap(), b"more").unwrap();
        }
    }
    let bench = bench();
    let mut writer = bench.writer("a").unwrap();
    let source = bench.source();
    let progress = Grows(&source);
    let cancel = bkv_stream::Cancel::default();
    let control = bkv_stream::Control { progress: &progress, cancel: &cancel };
    let report =
        backup(&mut writer, Source::Folders(std::slice::from_ref(&source)), &options("docs"), control)
            .unwrap();
    assert!(!report.manifest.is_complete());
    // It is all that the series has, so it is not pruned.
    let error = condemn_numbers(&mut writer, &[1]).unwrap_err();
    assert!(text(&error).contains("generation 1 is the newest of 'docs'"), "{error}");
    let listed: Vec<String> =
        report.left_out.iter().map(|(path, why)| format!("{} {why:?}", path.display())).collect();
    assert!(listed.iter().any(|line| line.ends_with("a/large Changed")), "{listed:?}");
    drop(writer);
    let to = bench.restore("docs", Which::Latest).unwrap();
    assert_eq!(fs::read(to.join("a/large")).unwrap(), noise(1, 9000));
    // The next backup reads it again.
    let report = bench.backup("a", "docs").unwrap();
    assert!(report.manifest.is_complete(), "{:?}", report.left_out);
    bench.assert_restores("docs");
}
