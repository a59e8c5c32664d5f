//! Ledgers that do not read, twins, and what the vault knows or has forgotten.

use std::fs;

use bkv_backups::backup::{Source, backup};
use bkv_backups::{Error, Expected, Naming, Standing, StateFile, VaultFault, Which, history, open};
use bkv_stream::BackupKey;

use super::common::*;
use super::{bench, the_error};

/// A03, B03: one copy of a ledger is enough. Without any copy the reader returns an error that names the ledger. It takes an older ledger only if the caller accepts it.
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
