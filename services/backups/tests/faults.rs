//! What a destination, a crash, a vault or an attacker can do, and what is reported.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

mod common;

use std::collections::BTreeSet;
use std::fs;

use bkv_backups::backup::{Source, backup};
use bkv_backups::destination::{Fault, Listed, Meta, Patient};
use bkv_backups::prune::{Condemnation, GRACE_MS, ORPHAN_MS, condemn, sweep, undo};
use bkv_backups::restore::{self, restore};
use bkv_backups::{
    Access, Error, Expected, History, Naming, Outside, Reading, Secret, Standing, StateFile, VaultFault,
    Which, Writer, history, open,
};
use bkv_stream::BackupKey;
use common::*;

fn bench() -> Bench {
    let bench = Bench::default();
    fill(&bench.source());
    bench
}

fn the_error(bench: &Bench) -> Error {
    bench.restore("docs", Which::Latest).unwrap_err()
}

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
    let error =
        ask(&BackupKey::from_bytes(&[8; 32]), &Expected { writer, named: None, v: right.v.clone() }).unwrap();
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

/// A03, B03: of a ledger, one copy is enough. Without any, that is said, and an older one is taken only if the caller accepts it.
#[test]
fn a_ledger_that_does_not_read_is_named() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    fs::write(bench.source().join("later"), "later").unwrap();
    bench.backup("a", "docs").unwrap();
    let newest = bench.memory.ledgers().split_off(2);
    bench.memory.change(&newest[0], |bytes| bytes.truncate(0));
    bench.assert_restores("docs");
    bench.memory.change(&newest[1], |bytes| bytes.truncate(0));
    let error = the_error(&bench);
    assert!(matches!(error, Error::Cut { .. }), "{error}");
    bench.memory.change(&newest[1], |bytes| bytes.resize(2000, 1));
    let error = the_error(&bench);
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    for name in &newest {
        bench.memory.remove(name);
    }
    let error = the_error(&bench);
    assert!(matches!(error, Error::RolledBack { counter: 2, .. }), "{error}");
    let library = open(bench.access(), &bench.expected(), true).unwrap();
    assert_eq!(library.histories[0].standing, Standing::Older);
    let choice = library.choose(Some("docs"), Which::Latest).unwrap();
    assert_eq!(choice.kept.number, 1);
    // The device itself does not go on as if nothing were.
    assert!(matches!(bench.backup("a", "docs"), Err(Error::RolledBack { .. })));
}

/// Without a vault, a newer ledger that does not open stops. It may be the newest backup.
#[test]
fn in_64_digit_mode_the_highest_ledger_counts() {
    let bench = Bench { digits_only: true, ..bench() };
    let naming = bench.backup("a", "docs").unwrap().naming;
    assert_eq!(naming, Naming::NoVault);
    bench.backup("a", "docs").unwrap();
    let library = open(bench.access(), &[], false).unwrap();
    assert_eq!(library.histories[0].standing, Standing::Unchecked);
    assert_eq!(library.choose(None, Which::Latest).unwrap().kept.number, 2);
    for name in bench.memory.ledgers().split_off(2) {
        bench.memory.change(&name, |bytes| bytes.truncate(0));
    }
    let library = open(bench.access(), &[], false).unwrap();
    assert!(matches!(library.unreadable[0].1, Error::Cut { .. }), "{:?}", library.unreadable);
    let library = open(bench.access(), &[], true).unwrap();
    assert_eq!(library.histories[0].standing, Standing::Older);
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

/// Somebody who can write to the destination puts a file where a newer ledger would be.
#[test]
fn a_planted_ledger_neither_stops_a_restore_nor_makes_a_twin() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let folder = format!("{}/{}/ledgers", tag().folder(), hex::encode(bench.expected()[0].writer));
    let other = Bench { key: BackupKey::from_bytes(&[9; 32]), ..Bench::default() };
    fill(&other.source());
    other.backup("a", "docs").unwrap();
    let name = other.memory.ledgers().remove(0);
    let hash = name.split('-').nth(2).unwrap().to_owned();
    bench.memory.put(&format!("{folder}/{:016x}-{hash}-1", 7), other.memory.get(&name));
    bench.backup("a", "docs").unwrap();
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

/// The same with a state file that could not be replaced: the run ends between the ledger and the vault.
#[test]
fn a_ledger_that_was_written_and_not_recorded_is_found_by_its_name() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let state = fs::read(bench.state_path("a")).unwrap();
    bench.vault.0.lock().unwrap().away = true;
    let report = bench.backup("a", "docs").unwrap();
    let Naming::NotNamed { fault: VaultFault::Unreachable(_), opens_nowhere_else: false, .. } = report.naming
    else {
        panic!("{:?}", report.naming)
    };
    // Another device opens it: it is newer than the vault knows.
    bench.vault.0.lock().unwrap().away = false;
    let library = bench.library();
    assert_eq!(library.histories[0].standing, Standing::Newer { than: 1 });
    bench.assert_restores("docs");
    // The vault's answer is lost, and the next run finds that it was named.
    bench.vault.0.lock().unwrap().loses_answer = true;
    assert!(matches!(bench.backup("a", "docs").unwrap().naming, Naming::NotNamed { .. }));
    bench.vault.0.lock().unwrap().loses_answer = false;
    assert_eq!(bench.backup("a", "docs").unwrap().naming, Naming::Named);
    // A state of before, as from a snapshot of the machine, is a twin's.
    fs::write(bench.state_path("a"), state).unwrap();
    let error = bench.backup("a", "docs").unwrap_err();
    assert!(matches!(error, Error::Twin), "{error}");
}

/// A vault that has forgotten the writer, as after a new registration, gets ledger and V again.
#[test]
fn a_vault_that_forgot_the_writer_is_told_again() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let before = bench.expected().remove(0);
    bench.vault.0.lock().unwrap().named.clear();
    assert_eq!(bench.backup("a", "docs").unwrap().naming, Naming::Named);
    let after = bench.expected().remove(0);
    assert!(after.v == before.v && after.v.is_some());
    bench.assert_restores("docs");
}

/// K8: the state folder was copied, and both devices go on. Whoever comes second is told.
#[test]
fn k8_two_devices_with_one_state_are_told() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    fs::copy(bench.state_path("a"), bench.state_path("b")).unwrap();
    bench.backup("a", "docs").unwrap();
    let error = bench.backup("b", "docs").unwrap_err();
    assert!(matches!(error, Error::Twin), "{error}");
    // Both offline, with a listing that lags: both write. Then neither is called the newest.
    let bench = Bench { digits_only: true, ..crate::bench() };
    bench.backup("a", "docs").unwrap();
    fs::copy(bench.state_path("a"), bench.state_path("b")).unwrap();
    let shown = bench.memory.names();
    bench.memory.lock().shown = shown;
    bench.memory.lock().lags = true;
    bench.backup("a", "docs").unwrap();
    bench.backup("b", "docs").unwrap();
    bench.memory.lock().lags = false;
    let library = open(bench.access(), &[], false).unwrap();
    assert!(matches!(library.unreadable[0].1, Error::Twin), "{:?}", library.unreadable);
}

/// K8: a copied state wrote a ledger with a lower number than this device's newest, and the vault named it. It is not taken for this device's own.
#[test]
fn k8_a_twin_that_is_behind_is_found() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    fs::copy(bench.state_path("a"), bench.state_path("b")).unwrap();
    let shown = bench.memory.names();
    bench.memory.lock().shown = shown;
    bench.memory.lock().lags = true;
    bench.vault.0.lock().unwrap().away = true;
    bench.backup("a", "docs").unwrap();
    bench.backup("a", "docs").unwrap();
    bench.vault.0.lock().unwrap().away = false;
    assert_eq!(bench.backup("b", "docs").unwrap().naming, Naming::Named);
    let error = bench.backup("a", "docs").unwrap_err();
    assert!(matches!(error, Error::Twin), "{error}");
    // Without a vault, a ledger of the same number is enough.
    let bench = Bench { digits_only: true, ..crate::bench() };
    bench.backup("a", "docs").unwrap();
    fs::copy(bench.state_path("a"), bench.state_path("b")).unwrap();
    let shown = bench.memory.names();
    bench.memory.lock().shown = shown;
    bench.memory.lock().lags = true;
    bench.backup("a", "docs").unwrap();
    bench.backup("b", "docs").unwrap();
    bench.memory.lock().lags = false;
    let error = bench.backup("a", "docs").unwrap_err();
    assert!(matches!(error, Error::Twin), "{error}");
}

/// K8: a device that wrote offline is not taken for the newest after its twin's ledger was named: its ledgers lead past the named one.
#[test]
fn k8_a_newer_ledger_must_follow_the_named_one() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    fs::copy(bench.state_path("a"), bench.state_path("b")).unwrap();
    let shown = bench.memory.names();
    bench.memory.lock().shown = shown;
    bench.memory.lock().lags = true;
    bench.vault.0.lock().unwrap().away = true;
    bench.backup("a", "docs").unwrap();
    bench.backup("a", "docs").unwrap();
    bench.memory.lock().lags = false;
    bench.vault.0.lock().unwrap().away = false;
    // Alone, the device's two ledgers follow the named one.
    assert_eq!(bench.library().histories[0].standing, Standing::Newer { than: 1 });
    // If one between is missing, that is not known, and the named one counts.
    let lost = bench.memory.ledgers().into_iter().filter(|name| name.contains(&format!("/{:016x}-", 2)));
    let lost: Vec<_> = lost.map(|name| (bench.memory.get(&name), name)).collect();
    for (_, name) in &lost {
        bench.memory.remove(name);
    }
    let library = bench.library();
    let found = &library.histories[0];
    assert_eq!(found.standing, Standing::Named);
    assert!(
        matches!(&found.notes[..], [Error::NotAllHere { first, .. }] if *first == lost[0].1),
        "{found:?}"
    );
    assert_eq!(library.choose(None, Which::Latest).unwrap().kept.number, 1);
    for (bytes, name) in lost {
        bench.memory.put(&name, bytes);
    }
    bench.memory.lock().lags = true;
    assert_eq!(bench.backup("b", "docs").unwrap().naming, Naming::Named);
    bench.memory.lock().lags = false;
    let library = open(bench.access(), &bench.expected(), false).unwrap();
    assert!(matches!(library.unreadable[..], [(_, Error::Twin)]), "{library:?}");
}

/// The vault's answer is lost, and the same process goes on: its own earlier ledger is no twin's.
#[test]
fn a_lost_answer_of_the_vault_is_no_twin() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let mut writer = bench.writer("a").unwrap();
    let folders = [bench.source()];
    bench.vault.0.lock().unwrap().loses_answer = true;
    let first = backup(&mut writer, Source::Folders(&folders), &options("docs"), control()).unwrap();
    assert!(matches!(first.naming, Naming::NotNamed { .. }));
    bench.vault.0.lock().unwrap().loses_answer = false;
    let second = backup(&mut writer, Source::Folders(&folders), &options("docs"), control()).unwrap();
    assert_eq!(second.naming, Naming::Named);
}

/// Whoever has the backup key and not V writes a newer ledger that needs no V. It is not taken.
#[test]
fn a_ledger_that_needs_no_v_does_not_replace_one_that_does() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let forger = Bench { digits_only: true, ..crate::bench() };
    let mut state = bkv_backups::State::new(false).unwrap();
    state.writer = bench.expected()[0].writer;
    StateFile::lock(&forger.state_path("a"), false).unwrap().save(&state).unwrap();
    for _ in 0..3 {
        forger.backup("a", "docs").unwrap();
    }
    for name in forger.memory.names() {
        bench.memory.put(&name, forger.memory.get(&name));
    }
    let library = bench.library();
    assert_eq!(library.histories[0].standing, Standing::Named);
    assert_eq!(library.choose(None, Which::Latest).unwrap().kept.number, 1);
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

fn four(bench: &Bench) {
    for n in 0..4 {
        fs::write(bench.source().join("a/large"), noise(100 + n, 9000)).unwrap();
        bench.backup("a", "docs").unwrap();
    }
}

fn condemn_numbers(writer: &mut Writer<'_>, numbers: &[u64]) -> bkv_backups::Result<Condemnation> {
    let series = writer.ledger().series("docs").unwrap().id;
    let chosen: BTreeSet<_> = numbers.iter().map(|number| (series, *number)).collect();
    condemn(writer, &chosen, control())
}

/// Condemned generations can be taken back for seven days. Then their objects and seeds are gone, and the others are whole.
#[test]
fn prune_condemns_then_deletes_and_can_be_undone() {
    let bench = bench();
    four(&bench);
    let all = bench.memory.objects().len();
    let mut writer = bench.writer("a").unwrap();
    let error = condemn_numbers(&mut writer, &[4]).unwrap_err();
    assert!(text(&error).contains("generation 4 is the newest of 'docs'"), "{error}");
    let condemned = condemn_numbers(&mut writer, &[1, 3]).unwrap();
    assert!(condemned.blobs >= 2, "{condemned:?}");
    let swept = sweep(&mut writer, false, control()).unwrap();
    assert_eq!((swept.generations, swept.objects), (0, 0));
    assert_eq!(bench.memory.objects().len(), all);
    drop(writer);
    assert!(bench.restore("docs", Which::Number(1)).is_err());
    let mut writer = bench.writer("a").unwrap();
    assert_eq!(undo(&mut writer).unwrap().0, 2);
    drop(writer);
    bench.restore("docs", Which::Number(1)).unwrap();
    let mut writer = bench.writer("a").unwrap();
    condemn_numbers(&mut writer, &[1, 3]).unwrap();
    bench.now.add(GRACE_MS);
    let swept = sweep(&mut writer, false, control()).unwrap();
    assert_eq!(swept.generations, 2);
    assert!(
        bench.memory.objects().len() < all && swept.objects as usize == all - bench.memory.objects().len()
    );
    drop(writer);
    for number in [2, 4] {
        bench.restore("docs", Which::Number(number)).unwrap();
    }
    // The number of a pruned generation is never given again.
    assert_eq!(bench.backup("a", "docs").unwrap().manifest.number, 5);
    bench.assert_restores("docs");
}

/// Killed at every call of a prune: what is kept stays whole, and the next prune finishes.
#[test]
fn a_prune_that_is_killed_anywhere() {
    killed_prunes(false);
}

#[test]
fn a_prune_with_a_new_v_that_is_killed_anywhere() {
    killed_prunes(true);
}

fn killed_prunes(new_v: bool) {
    let mut at = 0;
    loop {
        at += 3;
        let bench = bench();
        four(&bench);
        let mut writer = bench.writer("a").unwrap();
        condemn_numbers(&mut writer, &[1, 2]).unwrap();
        bench.now.add(GRACE_MS);
        let calls = bench.memory.lock().calls;
        bench.memory.lock().dies_at = Some(calls + at);
        let result = sweep(&mut writer, new_v, control());
        bench.memory.lock().dies_at = None;
        drop(writer);
        for number in [3, 4] {
            bench.restore("docs", Which::Number(number)).unwrap_or_else(|error| panic!("call {at}: {error}"));
        }
        let mut writer = bench.writer("a").unwrap();
        sweep(&mut writer, new_v, control()).unwrap_or_else(|error| panic!("call {at}: {error}"));
        assert!(writer.ledger().doomed.is_empty() && writer.ledger().condemned.is_empty());
        drop(writer);
        bench.assert_restores("docs");
        // No object is left that no ledger mentions.
        bench.memory.lock().now_ms += ORPHAN_MS + 1;
        bench.backup("a", "docs").unwrap();
        let mut writer = bench.writer("a").unwrap();
        assert_eq!(sweep(&mut writer, false, control()).unwrap().orphans, 0, "call {at}");
        if result.is_ok() {
            break;
        }
    }
    assert!(at > 10, "only {at} calls");
}

/// S54: whoever has the backup key, everything the drive ever held and today's V opens no generation that was let go.
#[test]
fn s54_with_a_new_v_a_generation_that_was_let_go_opens_no_more() {
    let bench = bench();
    four(&bench);
    let before = bench.expected().remove(0);
    let image: Vec<(String, Vec<u8>)> =
        bench.memory.names().into_iter().map(|name| (name.clone(), bench.memory.get(&name))).collect();
    let mut writer = bench.writer("a").unwrap();
    condemn_numbers(&mut writer, &[1, 3]).unwrap();
    bench.now.add(GRACE_MS);
    let swept = sweep(&mut writer, true, control()).unwrap();
    assert_eq!((swept.generations, swept.v_kept), (2, None));
    drop(writer);
    let after = bench.expected().remove(0);
    assert!(after.v != before.v, "V was kept");
    for number in [2, 4] {
        bench.restore("docs", Which::Number(number)).unwrap();
    }
    assert!(bench.restore("docs", Which::Number(1)).is_err());
    // The drive as it ever was.
    let drive = Memory::default();
    for (name, bytes) in &image {
        drive.put(name, bytes.clone());
    }
    for name in bench.memory.names() {
        drive.put(&name, bench.memory.get(&name));
    }
    // Each ledger on its own, so that a newer one does not hide it.
    let numbers = |ledger: &str, v: &Option<Secret>| -> Vec<u64> {
        let alone = Memory::default();
        alone.put(ledger, drive.get(ledger));
        let access = Access { destination: &alone, ..bench.access() };
        let expected = Expected { writer: before.writer, named: None, v: v.clone() };
        let Ok(Some(History { ledger, .. })) = history(access, before.writer, Some(&expected), true) else {
            return Vec::new();
        };
        let condemned = ledger.condemned.iter().map(|condemned| &condemned.kept);
        ledger.kept.iter().chain(condemned).map(|kept| kept.number).collect()
    };
    let ledgers = drive.ledgers();
    let open_in = |v| ledgers.iter().filter(|name| numbers(name, v).contains(&1)).count();
    assert_eq!(open_in(&after.v), 0);
    assert!(open_in(&before.v) >= 8, "the attack does not work at all");
    assert!(ledgers.iter().any(|name| numbers(name, &after.v) == [2, 4]));
    bench.backup("a", "docs").unwrap();
    bench.assert_restores("docs");
}

/// S54: seeds went while V could not change. The next sweep that can change it does, although it lets nothing go itself.
#[test]
fn s54_a_new_v_that_is_owed_is_made_later() {
    for keeps_v in [false, true] {
        let bench = bench();
        four(&bench);
        let before = bench.expected().remove(0).v;
        let mut writer = bench.writer("a").unwrap();
        condemn_numbers(&mut writer, &[1, 3]).unwrap();
        bench.now.add(GRACE_MS);
        let since = bench.now.0.load(std::sync::atomic::Ordering::SeqCst);
        bench.vault.0.lock().unwrap().keeps_v = keeps_v;
        let swept = sweep(&mut writer, keeps_v, control()).unwrap();
        assert!(swept.generations == 2 && swept.v_kept.is_some());
        assert_eq!(swept.v_owed_since_ms, Some(since));
        assert!(bench.expected().remove(0).v == before);
        drop(writer);
        bench.backup("a", "docs").unwrap();
        let mut writer = bench.writer("a").unwrap();
        let swept = sweep(&mut writer, keeps_v, control()).unwrap();
        assert!(swept.generations == 0 && swept.v_kept.is_some(), "{swept:?}");
        assert_eq!(swept.v_owed_since_ms, Some(since));
        bench.vault.0.lock().unwrap().keeps_v = false;
        let swept = sweep(&mut writer, true, control()).unwrap();
        let after = bench.expected().remove(0).v;
        assert!(after != before && swept.v_kept.is_none(), "V was kept: {swept:?}");
        assert_eq!(swept.v_owed_since_ms, None);
        // Once is enough.
        sweep(&mut writer, true, control()).unwrap();
        assert!(bench.expected().remove(0).v == after);
        drop(writer);
        bench.assert_restores("docs");
    }
}

/// The vault refuses a new V, or its answer is lost, and it takes that V later: before the ledger that the device wrote in its place, while the device can't reach it, or after the
/// device has asked. No ledger is ever named beside a V that does not open it.
#[test]
fn s54_a_new_v_that_is_taken_late_locks_no_other_device_out() {
    let faults = [
        VaultFault::KeyGone("one region's word".into()),
        VaultFault::NotNow("soon".into()),
        VaultFault::Unreachable("lost".into()),
    ];
    for fault in faults {
        for when in ["before the next change", "while away", "after it was asked"] {
            let bench = bench();
            four(&bench);
            let mut writer = bench.writer("a").unwrap();
            condemn_numbers(&mut writer, &[1, 3]).unwrap();
            bench.now.add(GRACE_MS);
            let vault = || bench.vault.0.lock().unwrap();
            vault().withholds = Some(fault.clone());
            vault().takes_before_next = when == "before the next change";
            let swept = sweep(&mut writer, true, control());
            assert_eq!(swept.is_err(), matches!(fault, VaultFault::Unreachable(_)), "{swept:?}");
            if when == "before the next change" && swept.is_ok() {
                assert!(vault().withheld.is_none());
                bench.assert_restores("docs");
            }
            if when == "while away" {
                drop(writer);
                vault().take_withheld();
                writer = bench.writer("a").unwrap();
            } else if when == "after it was asked" {
                drop(writer);
                writer = bench.writer("a").unwrap();
                vault().take_withheld();
            }
            let folders = [bench.source()];
            fs::write(bench.source().join("a/large"), noise(200, 9000)).unwrap();
            let report = backup(&mut writer, Source::Folders(&folders), &options("docs"), control()).unwrap();
            assert_eq!(report.naming, Naming::Named, "{fault:?} {when}");
            bench.assert_restores("docs");
            drop(writer);
            // V changes once it can, and the history goes on.
            let mut writer = bench.writer("a").unwrap();
            let before = bench.expected().remove(0).v;
            let owed = writer.ledger().v_owed_since_ms.is_some() || !writer.ledger().condemned.is_empty();
            sweep(&mut writer, true, control()).unwrap();
            assert_eq!(bench.expected().remove(0).v != before, owed, "{fault:?} {when}");
            drop(writer);
            bench.backup("a", "docs").unwrap();
            bench.assert_restores("docs");
        }
    }
}

/// The same, and the device writes a ledger in its place before the vault takes the new V: the next backup takes V back.
#[test]
fn s54_a_device_that_went_on_under_its_v_takes_it_back() {
    let bench = bench();
    four(&bench);
    let before = bench.expected().remove(0).v;
    let mut writer = bench.writer("a").unwrap();
    condemn_numbers(&mut writer, &[1, 3]).unwrap();
    bench.now.add(GRACE_MS);
    bench.vault.0.lock().unwrap().withholds = Some(VaultFault::NotNow("soon".into()));
    bench.vault.0.lock().unwrap().goes_away_after_withholding = true;
    let error = sweep(&mut writer, true, control()).unwrap_err();
    assert!(text(&error).contains("nothing was deleted"), "{error}");
    drop(writer);
    // Without the vault a backup is made all the same.
    bench.backup("a", "docs").unwrap();
    bench.vault.0.lock().unwrap().away = false;
    assert!(bench.vault.0.lock().unwrap().take_withheld());
    assert!(bench.expected().remove(0).v != before);
    let mut writer = bench.writer("a").unwrap();
    assert!(!writer.state().v_given);
    condemn_numbers(&mut writer, &[2]).unwrap();
    assert!(bench.expected().remove(0).v == before, "V was not taken back");
    drop(writer);
    bench.assert_restores("docs");
}

/// L1: the remains of killed backups go after 30 days of the destination's clock, and nothing else does.
#[test]
fn l1_orphans_go_after_thirty_days_by_the_destinations_clock() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let known: BTreeSet<String> = bench.memory.objects().into_iter().collect();
    fs::write(bench.source().join("more"), noise(5, 50_000)).unwrap();
    let calls = bench.memory.lock().calls;
    bench.memory.lock().dies_at = Some(calls + 30);
    bench.backup("a", "docs").unwrap_err();
    bench.memory.lock().dies_at = None;
    let orphans = bench.memory.objects().len() - known.len();
    assert!(orphans > 5);
    let stranger = format!("{}/notes.txt", known.first().unwrap().rsplit_once('/').unwrap().0);
    bench.memory.put(&stranger, b"not ours".to_vec());
    let mut writer = bench.writer("a").unwrap();
    // This device's clock is ten years ahead. Only the destination's counts.
    bench.now.add(10 * 365 * 86_400_000);
    assert_eq!(sweep(&mut writer, false, control()).unwrap().orphans, 0);
    drop(writer);
    bench.memory.lock().now_ms += ORPHAN_MS + 120_000;
    bench.backup("a", "docs").unwrap();
    let mut writer = bench.writer("a").unwrap();
    let swept = sweep(&mut writer, false, control()).unwrap();
    assert_eq!(swept.orphans as usize, orphans);
    drop(writer);
    assert!(bench.memory.names().contains(&stranger));
    bench.assert_restores("docs");
}

/// A device whose ledger the vault does not name must not delete.
#[test]
fn nothing_is_deleted_while_the_vault_is_away() {
    let bench = bench();
    four(&bench);
    let mut writer = bench.writer("a").unwrap();
    condemn_numbers(&mut writer, &[1]).unwrap();
    bench.now.add(GRACE_MS);
    let all = bench.memory.objects();
    bench.vault.0.lock().unwrap().away = true;
    assert_eq!(undo(&mut writer).unwrap().0, 1);
    let error = sweep(&mut writer, false, control()).unwrap_err();
    assert!(text(&error).contains("nothing was deleted"), "{error}");
    assert_eq!(bench.memory.objects(), all);
}

/// The state says that the vault names the newest ledger. The vault is asked all the same: what is an orphan here may belong to a twin's newer backup.
#[test]
fn a_sweep_asks_the_vault_before_it_deletes_anything() {
    let bench = bench();
    four(&bench);
    let mut writer = bench.writer("a").unwrap();
    fs::copy(bench.state_path("a"), bench.state_path("b")).unwrap();
    // The lock is a file of its own for each state. The twin has other content, and the vault names its ledger.
    fs::write(bench.source().join("a/large"), noise(200, 9000)).unwrap();
    assert_eq!(bench.backup("b", "docs").unwrap().naming, Naming::Named);
    let all = bench.memory.names();
    let newest = writer.state().newest().unwrap();
    let own = bench.memory.ledgers().into_iter().filter(|name| name.contains(&hex::encode(newest.hash)));
    // By the destination's clock everything else is old.
    for name in own {
        let mut inner = bench.memory.lock();
        inner.objects.get_mut(&name).unwrap()[0].modified_ms += 2 * ORPHAN_MS;
    }
    bench.vault.0.lock().unwrap().away = true;
    let error = sweep(&mut writer, false, control()).unwrap_err();
    assert!(text(&error).contains("nothing was deleted"), "{error}");
    bench.vault.0.lock().unwrap().away = false;
    let error = sweep(&mut writer, false, control()).unwrap_err();
    assert!(matches!(error, Error::Twin), "{error}");
    assert_eq!(bench.memory.names(), all);
    bench.assert_restores("docs");
}

/// Other devices read the backup that the vault names. A newer one that it does not know does not replace it.
#[test]
fn the_newest_generation_that_the_vault_knows_is_not_condemned() {
    let bench = bench();
    four(&bench);
    bench.vault.0.lock().unwrap().away = true;
    assert!(matches!(bench.backup("a", "docs").unwrap().naming, Naming::NotNamed { .. }));
    let mut writer = bench.writer("a").unwrap();
    let error = condemn_numbers(&mut writer, &[4]).unwrap_err();
    assert!(text(&error).contains("the newest that the vault knows"), "{error}");
    condemn_numbers(&mut writer, &[3]).unwrap();
    drop(writer);
    bench.vault.0.lock().unwrap().away = false;
    let mut writer = bench.writer("a").unwrap();
    sweep(&mut writer, false, control()).unwrap();
    condemn_numbers(&mut writer, &[4]).unwrap();
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

/// The key is gone at the vault: that is another answer than an outage.
#[test]
fn a_history_without_a_vault_entry_is_unchecked() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let expected = bench.expected().remove(0);
    let found =
        history(bench.access(), expected.writer, Some(&Expected { named: None, ..expected.clone() }), false);
    assert_eq!(found.unwrap().unwrap().standing, Standing::Unchecked);
    let none = history(bench.access(), [0; 16], None, false).unwrap();
    assert!(none.is_none());
}
