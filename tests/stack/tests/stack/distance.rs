//! Regions that are an ocean apart: people register and recover, and only real losses cause elections.

use std::time::Duration;

use bkv_stack_tests::chatd::metric;
use bkv_stack_tests::{Fleet, RIGHT, wait};
use serde_json::Value;

use crate::no_majority::reported;

const WRONG: &str = "a wrong password of some length";
const SOON: Duration = Duration::from_secs(30);

/// The region that leads the only shard.
fn leader(fleet: &Fleet) -> String {
    let mut found = None;
    wait("a leader", SOON, || {
        let status = fleet.dev(&["status"], &[]).expect(0).json;
        let regions = status["regions"].as_array().unwrap().clone();
        let leads = |r: &&Value| r["leads"].as_array().is_some_and(|l| !l.is_empty());
        found = regions.iter().find(leads).map(|r| r["name"].as_str().unwrap().to_owned());
        found.is_some()
    });
    found.unwrap()
}

/// How often a vault of the fleet became leader. All regions must be up.
fn elections(fleet: &Fleet) -> i64 {
    let count = |region: &String| metric(fleet.port(region, "health"), "bkv_vault_elections_total");
    fleet.regions().iter().map(count).sum()
}

/// S23: a region further away than Sydney from London changes nothing for people.
#[test]
fn s23_across_an_ocean_people_are_served_also_without_a_leader_or_a_region() {
    let fleet = Fleet::with(&["--round-trip", "250ms", "--jitter", "30%", "--shards", "1", "--no-postgres"]);
    let network = fleet.dev(&["status"], &[]).expect(0).json["network"].clone();
    assert_eq!(network["delays"]["round_trip_ms"], 250, "{network}");
    let before = elections(&fleet);
    let alice = fleet.registered("alice");
    for device in ["second", "third", "fourth"] {
        alice.recover(device, RIGHT).expect(0);
    }
    alice.recover("guesses", WRONG).expect(10);
    assert_eq!(elections(&fleet), before, "an election without a loss");
    let killed = leader(&fleet);
    fleet.region("kill", &killed);
    alice.recover("after the leader", RIGHT).expect(0);
    fleet.start(&killed);
    // A follower is lost, and nothing else.
    let lead = leader(&fleet);
    let follower = fleet.regions().into_iter().find(|r| *r != lead).unwrap();
    fleet.region("pause", &follower);
    alice.recover("after the region", RIGHT).expect(0);
    assert_eq!(leader(&fleet), lead, "the loss of a follower moves no leader");
    fleet.region("resume", &follower);
    fleet.wait_ready(3);
    assert_eq!(alice.tries_left(), 10);
}

#[test]
fn at_the_longest_round_trip_people_register_and_recover() {
    let fleet = Fleet::with(&["--round-trip", "400ms", "--shards", "1", "--no-postgres"]);
    let before = elections(&fleet);
    let bob = fleet.registered("bob");
    bob.recover("second", RIGHT).expect(0);
    assert_eq!(elections(&fleet), before, "an election without a loss");
}

/// The highest ceiling that the configuration takes. A registration waits for all regions that may still answer, and the client waits for that.
#[test]
fn s23_a_second_apart_people_are_served_also_without_a_region() {
    let fleet = Fleet::with(&["--round-trip", "1s", "--shards", "1", "--no-postgres"]);
    let before = elections(&fleet);
    let carol = fleet.registered("carol");
    carol.recover("second", RIGHT).expect(0);
    assert_eq!(elections(&fleet), before, "an election without a loss");
    let lead = leader(&fleet);
    let follower = fleet.regions().into_iter().find(|r| *r != lead).unwrap();
    fleet.region("pause", &follower);
    carol.recover("without a region", RIGHT).expect(0);
    fleet.registered("dave");
    fleet.region("resume", &follower);
}

/// A killed network process is as a cut line: everything goes on once it is back.
#[test]
fn connections_that_are_cut_come_back() {
    let fleet = Fleet::with(&["--round-trip", "100ms", "--shards", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let status = fleet.dev(&["status"], &[]).expect(0).json;
    let pid = status["network"]["pid"].as_i64().expect("the network's process").to_string();
    let killed = std::process::Command::new("kill").args(["-9", &pid]).status().unwrap();
    assert!(killed.success());
    alice.run(&["recover", "--yes", "--timeout", "2"], "cut", Some(RIGHT)).expect(69);
    fleet.dev(&["up"], &[]).expect(0);
    alice.recover("back", RIGHT).expect(0);
}

/// S09, S23: the stories that other tests tell of a fleet in one place hold at each distance too. The fleet moves apart while it runs.
#[test]
fn s09_s23_the_stories_of_one_place_hold_at_each_distance() {
    let fleet = Fleet::with(&["--round-trip", "400ms", "--shards", "1", "--no-postgres"]);
    for time in ["100ms", "250ms", "400ms"] {
        fleet.dev(&["round-trip", time], &[]).expect(0);
        let name = |what: &str| format!("{what} at {time}");
        let alice = fleet.registered(&format!("alice-{time}"));
        alice.recover(&name("second"), RIGHT).expect(0);

        // Attempts, also across the loss of the leader and of a follower.
        let lead = leader(&fleet);
        alice.recover("guesses", WRONG).expect(10);
        fleet.region("kill", &lead);
        alice.recover("guesses", WRONG).expect(10);
        assert_eq!(alice.tries_left(), 8, "{time}");
        fleet.start(&lead);
        let lead = leader(&fleet);
        let others: Vec<String> = fleet.regions().into_iter().filter(|r| *r != lead).collect();
        fleet.region("pause", &others[0]);
        alice.recover("guesses", WRONG).expect(10);
        assert_eq!(alice.tries_left(), 7, "{time}");
        alice.recover(&name("without a region"), RIGHT).expect(0);

        // No majority: the try is either not spent, or reported.
        fleet.region("pause", &others[1]);
        let answer = alice.run(&["recover", "--yes", "--timeout", "8"], "alone", Some(WRONG)).expect(69);
        for region in &others {
            fleet.region("resume", region);
        }
        fleet.wait_ready(3);
        let (none, perhaps) = reported(&answer);
        assert_ne!(none, perhaps, "{time}: {answer:?}");
        let left = alice.tries_left();
        assert!(left == 10 || (perhaps && left == 9), "{time}: {left} left, {answer:?}");
        alice.recover(&name("again"), RIGHT).expect(0);
        assert_eq!(alice.tries_left(), 10, "{time}");
    }
    // A whole budget at the longest distance.
    let mallory = fleet.registered("mallory");
    for left in (1..10).rev() {
        assert_eq!(mallory.recover("thief", WRONG).expect(10).json["tries_left"], left);
    }
    mallory.recover("thief", WRONG).expect(12);
    mallory.recover("owner", RIGHT).expect(12);
}
