//! Verifying and repairing: what damage is found, and what the next backup stores anew.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;

use bkv_backups::Which;
use bkv_backups::prune::{GRACE_MS, condemn, sweep};
use bkv_backups::verify::{Options, Verdict, mark_damaged, verify};
use common::*;

fn bench() -> Bench {
    let bench = Bench::default();
    fill(&bench.source());
    bench
}

fn verdict(bench: &Bench, sample: f64) -> Verdict {
    let library = bench.library();
    let mut verdict = Verdict::default();
    for history in &library.histories {
        verify(bench.access(), history, None, Options { sample }, &mut verdict, control()).unwrap();
    }
    verdict
}

fn mark(bench: &Bench, verdict: &Verdict) {
    let mut writer = bench.writer("a").unwrap();
    let id = writer.state().writer;
    let blobs = verdict.damaged.get(&id).cloned().unwrap_or_default();
    mark_damaged(&mut writer, &blobs).unwrap();
}

/// Every object of the newest backup is damaged in turn, by one bit, by its loss and by a cut. Each is found, and named.
#[test]
fn every_damage_is_found() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let whole = verdict(&bench, 1.0);
    assert!(whole.findings.is_empty() && whole.blobs > 3, "{whole:?}");
    let newest = bench.memory.ledgers().split_off(0);
    for name in bench.memory.objects().into_iter().chain(newest) {
        let bytes = bench.memory.get(&name);
        let changes: [fn(&mut Vec<u8>); 3] =
            [|b| b[0] ^= 1, |b| b.truncate(b.len() - 1), |b| *b = b.iter().rev().copied().collect()];
        for change in changes {
            bench.memory.change(&name, change);
            let found = verdict(&bench, 1.0);
            assert_eq!(found.findings.len(), 1, "{name}: {found:?}");
            bench.memory.put(&name, bytes.clone());
        }
        bench.memory.remove(&name);
        let found = verdict(&bench, 1.0);
        assert_eq!(found.findings.len(), 1, "{name}: {found:?}");
        assert!(found.findings[0].error.is_damage(), "{found:?}");
        bench.memory.put(&name, bytes);
    }
    assert!(verdict(&bench, 1.0).findings.is_empty());
}

/// A destination that says 'written' and later keeps nothing is found out without a restore.
#[test]
fn what_two_generations_share_is_read_once_and_named_for_both() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    fs::write(bench.source().join("b/new"), "new").unwrap();
    bench.backup("a", "docs").unwrap();
    let both = verdict(&bench, 1.0);
    assert_eq!(both.generations, 2);
    let none = verdict(&bench, 0.0);
    assert_eq!((none.generations, none.blobs), (2, 0));
    let mut drawn = BTreeSet::new();
    for _ in 0..40 {
        drawn.insert(verdict(&bench, 0.5).blobs);
    }
    assert!(drawn.len() > 1 && drawn.iter().all(|n| *n <= both.blobs), "{drawn:?} of {}", both.blobs);
    let shared = bench
        .memory
        .objects()
        .into_iter()
        .map(|name| {
            let bytes = bench.memory.get(&name);
            bench.memory.remove(&name);
            let found = verdict(&bench, 1.0);
            bench.memory.put(&name, bytes);
            found
        })
        .filter(|found| found.findings.len() == 1 && found.findings[0].generations.len() == 2)
        .count();
    assert!(shared > 5, "{shared}");
}

/// The newest tree is cut short, and blobs that it names before the cut are read for the generations after it.
#[test]
fn a_tree_that_fails_exempts_no_blob() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let blobs = verdict(&bench, 1.0).blobs;
    bench.backup("a", "docs").unwrap();
    let mut trees = 0;
    for name in bench.memory.objects() {
        bench.memory.change(&name, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
        let found = verdict(&bench, 1.0);
        bench.memory.change(&name, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
        if found.damaged.is_empty() {
            assert!(found.generations == 1 && found.blobs == blobs, "{name}: {found:?}");
            trees += 1;
        }
    }
    assert!(trees > 3, "{trees}");
}

/// A destination that does not answer proves no damage.
#[test]
fn an_outage_marks_nothing_as_damaged() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let library = bench.library();
    let calls = bench.memory.lock().calls;
    bench.memory.lock().dies_at = Some(calls + 20);
    let mut verdict = Verdict::default();
    verify(bench.access(), &library.histories[0], None, Options::default(), &mut verdict, control()).unwrap();
    assert!(!verdict.findings.is_empty() && verdict.damaged.is_empty(), "{verdict:?}");
}

/// A blob whose bytes rot keeps its length, so a backup takes it for known for ever. After a verification with repair, the next backup stores it anew, and older
/// generations with the same content read again.
#[test]
fn a_repair_heals_the_newest_and_the_older_generations() {
    let mut healed = 0;
    for n in (0..60).step_by(6) {
        let bench = bench();
        bench.backup("a", "docs").unwrap();
        // The tree of the second generation is new, the blobs are those of the first.
        bench.backup("a", "docs").unwrap();
        let Some(name) = bench.memory.objects().into_iter().nth(n) else { break };
        bench.memory.change(&name, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
        let found = verdict(&bench, 1.0);
        if found.damaged.is_empty() {
            continue;
        }
        // Without the repair the damage goes from generation to generation.
        bench.backup("a", "docs").unwrap();
        assert!(bench.restore("docs", Which::Latest).is_err());
        mark(&bench, &found);
        let report = bench.backup("a", "docs").unwrap();
        assert!(report.counts().new_bytes > 0 && report.began_anew.is_none(), "{report:?}");
        for number in 1..=4 {
            let to = bench.restore("docs", Which::Number(number)).unwrap();
            assert_same(&bench.source(), &to);
        }
        assert!(verdict(&bench, 1.0).findings.is_empty());
        // Only once: the backup after it stores nothing again, and a sweep leaves what stands for the damaged blob.
        let again = bench.backup("a", "docs").unwrap();
        assert!(again.counts().new_bytes < report.counts().new_bytes);
        let mut writer = bench.writer("a").unwrap();
        let series = writer.ledger().series("docs").unwrap().id;
        assert!(writer.ledger().damaged.is_empty() && writer.ledger().replaced.len() == 1);
        condemn(&mut writer, &BTreeSet::from([(series, 2), (series, 4), (series, 5)]), control())
            .unwrap_err();
        condemn(&mut writer, &BTreeSet::from([(series, 2), (series, 4)]), control()).unwrap();
        bench.now.add(GRACE_MS);
        sweep(&mut writer, true, control()).unwrap();
        drop(writer);
        for number in [1, 3, 5] {
            assert_same(&bench.source(), &bench.restore("docs", Which::Number(number)).unwrap());
        }
        healed += 1;
    }
    assert!(healed > 3, "{healed}");
}

/// What stands in the place of a blob counts only with the same content: an older generation never changes.
#[test]
fn a_repair_after_the_file_changed_heals_only_the_newest() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let before = describe(&bench.source());
    let names = bench.memory.objects();
    for name in &names {
        bench.memory.change(name, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
        let damaged = !verdict(&bench, 1.0).damaged.is_empty();
        if !damaged {
            bench.memory.change(name, |bytes| {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
            });
        }
    }
    let found = verdict(&bench, 1.0);
    assert!(found.damaged.values().map(BTreeSet::len).sum::<usize>() > 3, "{found:?}");
    mark(&bench, &found);
    fs::write(bench.source().join("a/large"), noise(50, 9000)).unwrap();
    fs::remove_file(bench.source().join("b/small-00")).unwrap();
    bench.backup("a", "docs").unwrap();
    bench.assert_restores("docs");
    let library = bench.library();
    let reading =
        bkv_backups::Reading::open(bench.access(), library.choose(None, Which::Number(1)).unwrap()).unwrap();
    let to = bench.dir.path().join("older");
    let options = bkv_backups::restore::Options { keep_going: true, ..Default::default() };
    let report = bkv_backups::restore::restore(&reading, &to, &options, control()).unwrap();
    assert!(!report.failed.is_empty());
    for (name, line) in describe(&to).iter().filter(|(name, _)| !to.join(name).is_dir()) {
        assert_eq!(before.get(name), Some(line), "{}", name.display());
    }
}

/// A generation whose tree is gone can be condemned and goes. The others stay whole, and no object that a kept one needs is taken for an orphan.
#[test]
fn a_generation_that_does_not_read_can_be_pruned() {
    let bench = bench();
    bench.backup("a", "docs").unwrap();
    let first: BTreeSet<String> = bench.memory.objects().into_iter().collect();
    fs::write(bench.source().join("a/large"), noise(3, 9000)).unwrap();
    bench.backup("a", "docs").unwrap();
    let broken = first
        .iter()
        .find(|name| {
            let bytes = bench.memory.get(name);
            bench.memory.remove(name);
            let is_tree = verdict(&bench, 0.0).findings.len() == 1;
            bench.memory.put(name, bytes);
            is_tree
        })
        .unwrap();
    bench.memory.remove(broken);
    let mut writer = bench.writer("a").unwrap();
    let series = writer.ledger().series("docs").unwrap().id;
    let chosen = BTreeSet::from([(series, 1)]);
    condemn(&mut writer, &chosen, control()).unwrap();
    bench.memory.lock().now_ms += 40 * 86_400_000;
    drop(writer);
    bench.backup("a", "docs").unwrap();
    let mut writer = bench.writer("a").unwrap();
    assert_eq!(sweep(&mut writer, false, control()).unwrap().orphans, 0);
    bench.now.add(GRACE_MS);
    sweep(&mut writer, false, control()).unwrap();
    sweep(&mut writer, false, control()).unwrap();
    drop(writer);
    for number in [2, 3] {
        bench.restore("docs", Which::Number(number)).unwrap();
    }
    assert!(verdict(&bench, 1.0).findings.is_empty());
}
