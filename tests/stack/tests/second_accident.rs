//! One region is away, and others restart.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bkv_stack_tests::{Fleet, RIGHT};

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
