//! Options of `bkv dev` that a local fleet can't have.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;

use bkv_stack_tests::refusal::{message, refused};
use bkv_stack_tests::{Fleet, bkv};

#[test]
fn bad_options_for_a_local_fleet_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("fleet");
    let at = at.to_str().unwrap();
    refused(bkv(["dev", "up", "--dir", at, "--regions", "2"]), 64, &["--regions 2", "1, 3 or 5"]);
    refused(bkv(["dev", "up", "--dir", at, "--jitter", "30%"]), 64, &["--jitter", "--round-trip"]);
    refused(bkv(["dev", "status", "--dir", at]), 66, &["no local fleet in", "bkv dev up"]);
    refused(bkv(["dev", "down", "--dir", at]), 66, &["no local fleet in"]);
    refused(bkv(["dev", "token", "alice", "--dir", at]), 66, &["no local fleet in"]);
    fs::write(dir.path().join("file"), "").unwrap();
    let under_a_file = dir.path().join("file/fleet");
    let answer = bkv(["dev", "up", "--dir", under_a_file.to_str().unwrap()]).expect(73);
    assert!(message(&answer).contains("file/fleet"), "{answer:?}");
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    refused(fleet.dev(&["region", "stop", "mars"], &[]), 66, &["no region `mars`", "eu-west"]);
    let answer = fleet.dev(&["token", ""], &[]).expect(66);
    assert!(message(&answer).contains("subject"), "{answer:?}");
    // A second `up` changes nothing.
    fleet.dev(&["up"], &[]).expect(0);
    fleet.dev(&["up"], &["--regions", "1", "--shards", "4", "--no-postgres"]).expect(0);
    // `bkv` refuses options that are fixed when the fleet is made.
    for (options, words) in [
        (&["--regions", "3"][..], "--regions: the fleet in this folder has 1"),
        (&["--shards", "8"], "--shards: the fleet in this folder has 4"),
        (&["--waits-ms", "0,1000"], "--waits-ms"),
        (&["--last-try-ms", "1"], "--last-try-ms"),
        (&["--lifetime-failures", "7"], "--lifetime-failures"),
        (&["--round-trip", "100ms"], "--round-trip and --jitter: the fleet in this folder has no delays"),
    ] {
        refused(fleet.dev(&["up"], options), 64, &[words, "fixed when it is made", "--dir"]);
    }
    // `up` returns when every shard is led.
    let status = fleet.dev(&["status"], &[]).expect(0).json;
    assert_eq!(status["regions"][0]["leads"].as_array().map(Vec::len), Some(4), "{status}");
    fs::write(fleet.dir().join("plan.json.kept"), fs::read(fleet.dir().join("plan.json")).unwrap()).unwrap();
    fs::write(fleet.dir().join("plan.json"), "{").unwrap();
    let answer = fleet.dev(&["status"], &[]).expect(64);
    assert!(message(&answer).contains("plan.json"), "{answer:?}");
    fs::rename(fleet.dir().join("plan.json.kept"), fleet.dir().join("plan.json")).unwrap();
}
