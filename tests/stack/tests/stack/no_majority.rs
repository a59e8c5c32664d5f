//! Two of three regions are down: what a recovery reports about the try is what the vaults report afterwards.

use std::time::{Duration, Instant};

use bkv_stack_tests::chatd::http;
use bkv_stack_tests::{Account, Answer, Fleet, RIGHT, wait};
use serde_json::Value;

/// The region that leads the only shard, and the other two. Leadership may move right afterwards, and then the test has another of its cases once more.
fn leader(fleet: &Fleet) -> (String, Vec<String>) {
    let name = |r: &Value| r["name"].as_str().unwrap().to_owned();
    let leads = |r: &&Value| r["leads"].as_array().is_some_and(|l| !l.is_empty());
    let mut found = None;
    // During an election no region leads.
    wait("a leader", Duration::from_secs(30), || {
        let status = fleet.dev(&["status"], &[]).expect(0).json;
        let regions = status["regions"].as_array().unwrap().clone();
        found = regions.iter().find(leads).map(name).map(|leader| {
            let others: Vec<String> = regions.iter().map(name).filter(|n| *n != leader).collect();
            (leader, others)
        });
        found.is_some()
    });
    found.unwrap()
}

fn failures(alice: &Account<'_>) -> u64 {
    alice.run(&["status"], "asker", None).expect(0).json["lifetime_failures"].as_u64().unwrap()
}

/// Whether the message reports that no try was spent, and whether it reports that one may have been.
pub(crate) fn reported(a: &Answer) -> (bool, bool) {
    let remedy = a.json["remedy"].as_str().unwrap();
    (
        remedy.contains("No try was spent"),
        remedy.contains("may have been spent") || remedy.contains("was spent by that"),
    )
}

/// S09 from a user's side. A leader that has lost its majority takes no attempt: an entry that it only wrote to its log would be committed, and charged, when
/// the others are back. A leader that loses its majority at the moment of the attempt may have written the entry. Then `bkv` reports that the try may be gone.
#[test]
fn s09_without_a_majority_no_try_is_spent_unreported() {
    let fleet = Fleet::with(&["--shards", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    // The attempt comes once the region that is left, leader or follower, has noticed; then at once, with the others killed and hung.
    for (leader_stays, kill, noticed) in [
        (true, true, true),
        (false, true, true),
        (true, false, true),
        (true, true, false),
        (true, false, false),
    ] {
        fleet.wait_ready(3);
        let before = failures(&alice);
        let (lead, others) = leader(&fleet);
        let (left, gone) =
            if leader_stays { (lead, others) } else { (others[1].clone(), vec![lead, others[0].clone()]) };
        let (away, back) = if kill { ("kill", "start") } else { ("pause", "resume") };
        for region in &gone {
            fleet.region(away, region);
        }
        if noticed {
            let health = fleet.port(&left, "health");
            wait("the region that is left to have no leader", Duration::from_secs(30), || {
                !http(health, "/readyz").starts_with("HTTP/1.1 200")
            });
        }
        let began = Instant::now();
        let answer = alice.run(&["recover", "--yes", "--timeout", "8"], "new", Some(RIGHT)).expect(69);
        let case = format!("leader stays {leader_stays}, kill {kill}, noticed {noticed}: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{case}");
        for region in &gone {
            fleet.region(back, region);
        }
        fleet.wait_ready(3);
        // The next committed entry decides whether the written entry is committed or dropped.
        let after = failures(&alice);
        let (none, perhaps) = reported(&answer);
        assert_ne!(none, perhaps, "{case}");
        assert!(!none || after == before, "a try was spent and not reported ({before} → {after}): {case}");
        if noticed {
            assert!(none, "no attempt was begun: {case}");
            assert!(!answer.json["message"].as_str().unwrap().contains("quorum"), "{case}");
        }
        assert_eq!(answer.json["try_counted"].is_string(), perhaps, "{case}");
        // A right password restores all tries, as the message promises.
        alice.recover("again", RIGHT).expect(0);
        assert_eq!(alice.tries_left(), 10, "{case}");
    }
}
