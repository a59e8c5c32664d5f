//! Two of three regions are down: what a recovery reports about the try is what the vaults report afterwards.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use bkv_stack_tests::{Account, Answer, Fleet, RIGHT};
use serde_json::Value;

/// The region that leads the only shard, and the other two.
fn leader(fleet: &Fleet) -> (String, Vec<String>) {
    let status = fleet.dev(&["status"], &[]).expect(0).json;
    let regions = status["regions"].as_array().unwrap().clone();
    let name = |r: &Value| r["name"].as_str().unwrap().to_owned();
    let leads = |r: &&Value| r["leads"].as_array().is_some_and(|l| !l.is_empty());
    let leader = regions.iter().find(leads).map(name).expect("a leader");
    let others = regions.iter().map(name).filter(|n| *n != leader).collect();
    (leader, others)
}

fn failures(alice: &Account<'_>) -> u64 {
    alice.run(&["status"], "asker", None).expect(0).json["lifetime_failures"].as_u64().unwrap()
}

fn said(a: &Answer) -> (bool, bool) {
    let remedy = a.json["remedy"].as_str().unwrap();
    (
        remedy.contains("No try was spent"),
        remedy.contains("may have been spent") || remedy.contains("was spent by that"),
    )
}

/// S09 from a person's side. A leader that has lost its majority takes no attempt: what it only wrote down would be committed, and charged, when the others
/// are back. One that is cut off in that very moment may have written it; then the person is told that the try may be gone.
#[test]
fn s09_without_a_majority_no_try_is_spent_unsaid() {
    let fleet = Fleet::with(&["--shards", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    // Long after, by the leader and by a follower that is left; and at the very moment, killed and hung.
    for (leader_stays, kill, pause) in
        [(true, true, 3000), (false, true, 3000), (true, false, 3000), (true, true, 0), (true, false, 0)]
    {
        fleet.wait_ready(3);
        let before = failures(&alice);
        let (lead, others) = leader(&fleet);
        let gone = if leader_stays { others } else { vec![lead, others[0].clone()] };
        let (away, back) = if kill { ("kill", "start") } else { ("pause", "resume") };
        for region in &gone {
            fleet.region(away, region);
        }
        std::thread::sleep(Duration::from_millis(pause));
        let began = Instant::now();
        let answer = alice.run(&["recover", "--yes", "--timeout", "8"], "new", Some(RIGHT)).expect(69);
        let case = format!("leader stays {leader_stays}, kill {kill}, after {pause} ms: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{case}");
        for region in &gone {
            fleet.region(back, region);
        }
        fleet.wait_ready(3);
        // The next committed entry decides whether the written entry is committed or dropped.
        let after = failures(&alice);
        let (none, perhaps) = said(&answer);
        assert_ne!(none, perhaps, "{case}");
        assert!(!none || after == before, "a try was spent unsaid ({before} → {after}): {case}");
        if pause > 0 {
            assert!(none, "nothing had left: {case}");
            assert!(!answer.json["message"].as_str().unwrap().contains("quorum"), "{case}");
        }
        assert_eq!(answer.json["try_counted"].is_string(), perhaps, "{case}");
        // A right password restores all tries, as the message promises.
        alice.recover("again", RIGHT).expect(0);
        assert_eq!(alice.tries_left(), 10, "{case}");
    }
}
