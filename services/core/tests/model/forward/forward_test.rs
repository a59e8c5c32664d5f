//! Forward lies break nothing, and each fault that is put back is found.
//!
//! `BKV_SEED=7 cargo test --test model -- forward --nocapture` replays one history and prints it. `BKV_FAULT=OtherShard` puts a fault back first.
//! `BKV_HISTORIES` sets how many histories run, from seed `BKV_FROM` on (`make soak`).

use std::env::var;

use super::fault::{Fault, put_back};
use super::history::History;

/// Histories in CI.
const HISTORIES: u64 = 2000;

fn number(name: &str) -> Option<u64> {
    var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is not a number: {v}")))
}

/// What a made-up state does to people.
const MOVED: [&str; 9] =
    ["LastTry", "Destroyed", "Wait", "Ledger", "Locked", "Lost", "Differ", "Revived", "TwoGuesses"];

const FAULTS: [Fault; 6] = [
    Fault::OtherShard,
    Fault::NoCertificate,
    Fault::OtherZ,
    Fault::Unverified,
    Fault::OtherRows,
    Fault::NoSecrets,
];

/// S09, S10, S13, S14, S15, S43, S46, S47, S48: a rooted leader that sends anything, over all shards together.
#[test]
fn s43_s47_s48_forward_lies_break_nothing() {
    if let Some(seed) = number("BKV_SEED") {
        let fault = var("BKV_FAULT").ok();
        let fault =
            fault.map(|f| FAULTS.into_iter().find(|k| format!("{k:?}") == f).expect("a fault's name"));
        let _back = put_back(fault);
        let history = History::of(seed);
        println!("{}", history.print());
        assert!(fault.is_some() || history.breaks().is_none(), "history {seed} breaks a rule");
        return;
    }
    let from = number("BKV_FROM").unwrap_or(0);
    for seed in from..from + number("BKV_HISTORIES").unwrap_or(HISTORIES) {
        let history = History::of(seed);
        if let Some(broken) = history.breaks() {
            panic!("{}\nBKV_SEED={seed} replays the whole history", history.shortened(&broken).print());
        }
    }
}

/// Each fault is found within this many histories.
const WITHIN: u64 = 100;

/// Runs histories until one finds the fault, by breaking one of `what`.
fn found(fault: Fault, what: &[&str]) {
    let _back = put_back(Some(fault));
    for seed in 0..WITHIN {
        if let Some(broken) = History::of(seed).breaks() {
            println!("{fault:?}: found by history {seed}:\n{}", History::of(seed).shortened(&broken).print());
            assert!(what.contains(&broken.what), "{}", broken.what);
            return;
        }
    }
    panic!("{fault:?} is not found within {WITHIN} histories");
}

/// A record that is copied into another shard has a second budget there.
#[test]
fn s47_the_model_finds_accounts_in_other_shards() {
    found(Fault::OtherShard, &["Budget", "TwoGuesses", "Revived"]);
}

/// A snapshot without a certificate.
#[test]
fn s48_the_model_finds_snapshots_without_a_certificate() {
    found(Fault::NoCertificate, &MOVED);
}

/// A snapshot with another z.
#[test]
fn s43_the_model_finds_another_z() {
    found(Fault::OtherZ, &["OtherZ"]);
}

/// A replica that speaks before it is verified.
#[test]
fn s24_the_model_finds_replicas_that_speak_unverified() {
    found(Fault::Unverified, &["Budget", "TwoGuesses", "Revived"]);
}

/// Rows with another ledger and other waits, under a genuine certificate.
#[test]
fn s48_the_model_finds_rows_that_nobody_signed() {
    found(Fault::OtherRows, &MOVED);
}

/// A snapshot without secrets.
#[test]
fn s48_the_model_finds_left_out_secrets() {
    found(Fault::NoSecrets, &["NoShare"]);
}
