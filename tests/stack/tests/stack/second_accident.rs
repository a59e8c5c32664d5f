//! One region is away, and others restart.

use std::net::TcpListener;
use std::process::Command;

use bkv_stack_tests::{Fleet, RIGHT, bin_dir};

/// S51: each other region is stopped in order and started, then both at once. Its token's anchor shows that its disk is the newest, so no vault waits for the region
/// that is away.
#[test]
fn s51_each_other_region_restarts_while_one_is_away() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.registered("alice");
    let regions = fleet.regions();
    let (away, left) = regions.split_first().unwrap();
    fleet.region("kill", away);
    for region in left {
        fleet.region("stop", region);
        fleet.region("start", region);
        alice.recover("device", RIGHT).expect(0);
    }
    for verb in ["stop", "start"] {
        for region in left {
            fleet.region(verb, region);
        }
    }
    alice.recover("device", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
    fleet.region("start", away);
    fleet.wait_ready(3);
}

/// S51: a start that fails because a port is in use leaves the anchor to the right start after it, also while another region is away.
#[test]
fn s51_a_start_that_fails_does_not_cost_the_anchor() {
    let fleet = Fleet::with(&["--no-postgres", "--shards", "1"]);
    let alice = fleet.registered("alice");
    let regions = fleet.regions();
    let (away, left) = regions.split_first().unwrap();
    let restarted = left.first().unwrap();
    for which in ["health", "admin", "relay", "peer"] {
        fleet.region("stop", restarted);
        fleet.region("kill", away);
        let taken = TcpListener::bind(("127.0.0.1", fleet.port(restarted, which))).unwrap();
        // `bkv dev` would not even start it.
        let folder = fleet.dir().join("regions").join(restarted);
        let mut vault = Command::new(bin_dir().join("bkv-vault"));
        vault.arg("--config").arg(folder.join("vault.toml"));
        let ended = vault.env("SOFTHSM2_CONF", folder.join("token/softhsm2.conf")).output().unwrap();
        let says = [ended.stdout, ended.stderr].concat();
        let says = String::from_utf8_lossy(&says);
        assert!(!ended.status.success() && says.contains(&format!("listen.{which}")), "{says}");
        drop(taken);
        fleet.region("start", restarted);
        alice.recover("device", RIGHT).expect(0);
        fleet.region("start", away);
        fleet.wait_ready(3);
    }
    assert_eq!(alice.tries_left(), 10);
}
