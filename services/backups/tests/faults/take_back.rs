//! Taking the last V back after somebody else with the key has replaced it.

use std::fs;

use bkv_backups::prune::{GRACE_MS, sweep};
use bkv_backups::take_back::{TakenBack, take_back};
use bkv_backups::{Error, Expected, Named, Secret, SetLedger, Vault as _, Which};

use super::bench;
use super::common::*;
use super::prune::condemn_numbers;

fn three(bench: &Bench) {
    for n in 0..3 {
        fs::write(bench.source().join("a/large"), noise(100 + n, 9000)).unwrap();
        bench.backup("a", "docs").unwrap();
    }
}

/// What the vault gives, with the V before.
fn known(bench: &Bench, before: &Expected) -> Expected {
    Expected { before: before.v.clone(), ..bench.expected().remove(0) }
}

fn try_take_back(bench: &Bench, before: &Expected, without_named: bool) -> bkv_backups::Result<TakenBack> {
    take_back(bench.access(), &bench.vault, &bench.now, &known(bench, before), without_named)
}

fn restored(bench: &Bench, number: u64) -> bool {
    bench.restore("docs", Which::Number(number)).is_ok()
}

/// A thief of the key names a ledger that does not exist, under a V of their own.
fn steal(bench: &Bench) {
    let known = bench.expected().remove(0);
    let named = known.named.unwrap();
    let new = Named { counter: named.counter + 7, hash: [9; 32] };
    let v = Some(Secret::from_bytes([9; 32]));
    let change = SetLedger { writer: known.writer, expected: Some(named.hash), new, v };
    bench.vault.set(&change).unwrap();
}

#[test]
fn s54_v_that_a_thief_of_the_key_replaced_comes_back_with_all_generations() {
    let bench = bench();
    three(&bench);
    let before = bench.expected().remove(0);
    steal(&bench);
    assert!(bench.restore("docs", Which::Latest).is_err(), "the attack does nothing");
    // The thief's ledger is not here. It could as well be one of the owner's at another place.
    let stolen = bench.expected().remove(0);
    let error = try_take_back(&bench, &before, false).unwrap_err();
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    assert_eq!(bench.expected().remove(0).named, stolen.named);
    let taken = try_take_back(&bench, &before, true).unwrap();
    assert_eq!(taken.given_up, Some(stolen.named.unwrap().counter));
    let all = [1, 2, 3].map(|n| ("docs".to_owned(), n));
    assert_eq!((taken.back.as_slice(), taken.lost.len()), (&all[..], 0));
    let after = bench.expected().remove(0);
    assert!(after.v == before.v && after.named.unwrap().counter > before.named.unwrap().counter + 7);
    for number in 1..=3 {
        assert!(restored(&bench, number), "{number}");
    }
    bench.assert_restores("docs");
    // The writer's own device did not write that ledger. It does not go on under it.
    assert!(matches!(bench.writer("a").unwrap_err(), Error::Twin));
    // Once is enough.
    let error = try_take_back(&bench, &before, false).unwrap_err();
    assert!(text(&error).contains("no generation"), "{error}");
}

/// A thief with a copy of the device's state prunes all but the newest generation, and the destination keeps what they delete, or all but one object of it. What was made
/// since stays too.
#[test]
fn s54_what_a_thief_pruned_comes_back_beside_what_was_made_since() {
    for missing in 0..2 {
        let bench = bench();
        three(&bench);
        let before = bench.expected().remove(0);
        fs::copy(bench.state_path("a"), bench.state_path("thief")).unwrap();
        let image: Vec<(String, Vec<u8>)> =
            bench.memory.names().into_iter().map(|name| (name.clone(), bench.memory.get(&name))).collect();
        let mut writer = bench.writer("thief").unwrap();
        condemn_numbers(&mut writer, &[1, 2]).unwrap();
        bench.now.add(GRACE_MS);
        assert_eq!(sweep(&mut writer, true, control()).unwrap().generations, 2);
        drop(writer);
        bench.backup("thief", "docs").unwrap();
        assert!(!restored(&bench, 1) && restored(&bench, 4));

        // Their data is gone: nothing would come back, and V stays.
        let named = bench.expected().remove(0);
        let error = try_take_back(&bench, &before, false).unwrap_err();
        assert!(text(&error).contains("V was not changed"), "{error}");
        let same = bench.expected().remove(0);
        assert!(same.v == named.v && same.named == named.named);

        // Each of these objects is of one generation only.
        let there = bench.memory.names();
        for (name, bytes) in image.into_iter().filter(|(name, _)| !there.contains(name)).skip(missing) {
            bench.memory.put(&name, bytes);
        }
        let taken = try_take_back(&bench, &before, false).unwrap();
        assert_eq!((taken.back.len(), taken.lost.len()), (2 - missing, missing), "{taken:?}");
        assert_eq!(taken.given_up, None);
        for number in 1..=4 {
            let is_lost = taken.lost.contains(&("docs".to_owned(), number));
            assert_eq!(restored(&bench, number), !is_lost, "{number}");
        }
        assert!(bench.expected().remove(0).v == before.v);
    }
}

/// The vault does not answer, or its answer is lost: the same call ends well later, and until then a reader gets what the vault names.
#[test]
fn taking_back_can_be_repeated() {
    let bench = bench();
    three(&bench);
    let before = bench.expected().remove(0);
    steal(&bench);
    let known = known(&bench, &before);
    bench.vault.0.lock().unwrap().away = true;
    let error = take_back(bench.access(), &bench.vault, &bench.now, &known, true).unwrap_err();
    assert!(text(&error).contains("not known whether it took V back"), "{error}");
    bench.vault.0.lock().unwrap().away = false;
    let taken = try_take_back(&bench, &before, true).unwrap();
    assert_eq!(taken.back.len(), 3);
    bench.assert_restores("docs");
}

/// The vault does not take V back. The ledger that was written for it is newer than the device's own and under another V, and the device goes on all the same.
#[test]
fn a_v_that_was_not_taken_back_costs_the_device_nothing() {
    let bench = bench();
    three(&bench);
    let before = bench.expected().remove(0);
    let image: Vec<(String, Vec<u8>)> =
        bench.memory.names().into_iter().map(|name| (name.clone(), bench.memory.get(&name))).collect();
    let mut writer = bench.writer("a").unwrap();
    condemn_numbers(&mut writer, &[1]).unwrap();
    bench.now.add(GRACE_MS);
    assert!(sweep(&mut writer, true, control()).unwrap().new_v);
    drop(writer);
    for (name, bytes) in image {
        bench.memory.put(&name, bytes);
    }
    let known = known(&bench, &before);
    bench.vault.0.lock().unwrap().away = true;
    take_back(bench.access(), &bench.vault, &bench.now, &known, false).unwrap_err();
    bench.vault.0.lock().unwrap().away = false;
    assert_eq!(bench.backup("a", "docs").unwrap().manifest.number, 4);
    bench.assert_restores("docs");
}

/// Another V than the one before opens nothing.
#[test]
fn a_v_that_opens_no_ledger_changes_nothing() {
    let bench = bench();
    three(&bench);
    let before = bench.expected().remove(0);
    let other = Expected { v: Some(Secret::from_bytes([5; 32])), ..before.clone() };
    let error = try_take_back(&bench, &other, false).unwrap_err();
    assert!(text(&error).contains("no ledger at this destination opens"), "{error}");
    bench.assert_restores("docs");
}
