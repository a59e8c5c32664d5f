//! Letting generations go: kills, a vault that is away, and V.

use std::collections::BTreeSet;
use std::fs;

use bkv_backups::backup::{Source, backup};
use bkv_backups::prune::{Condemnation, GRACE_MS, ORPHAN_MS, condemn, sweep, undo};
use bkv_backups::{Access, Error, Expected, History, Naming, Secret, VaultFault, Which, Writer, history};

use super::bench;
use super::common::*;

fn four(bench: &Bench) {
    for n in 0..4 {
        fs::write(bench.source().join("a/large"), noise(100 + n, 9000)).unwrap();
        bench.backup("a", "docs").unwrap();
    }
}

pub(crate) fn condemn_numbers(writer: &mut Writer<'_>, numbers: &[u64]) -> bkv_backups::Result<Condemnation> {
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
        let expected = Expected { writer: before.writer, named: None, v: v.clone(), before: None };
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
