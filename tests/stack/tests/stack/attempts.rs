//! The attempt budget on real processes, with real kills and hangs.

use bkv_stack_tests::{Fleet, RIGHT};

/// S09: exactly ten guesses; the eleventh, even with the right password, is refused, for good.
#[test]
fn s09_ten_wrong_guesses_destroy_the_key() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    for left in (0..10).rev() {
        let answer = alice.recover("thief", "wrong password entirely");
        if left > 0 {
            assert_eq!(answer.expect(10).json["tries_left"], left);
        } else {
            assert_eq!(answer.code, 12, "{}", answer.stderr);
        }
    }
    alice.recover("owner", RIGHT).expect(12);
    // A fresh registration is possible, and has its own budget; the destroyed key does not come back.
    alice.run(&["register"], "again", Some(RIGHT)).expect(0);
    assert_eq!(alice.tries_left(), 10);
}

/// S09, S15: the tenth guess may succeed, and then restores the budget.
#[test]
fn s09_the_last_try_may_succeed() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    for _ in 0..9 {
        alice.recover("thief", "wrong password entirely").expect(10);
    }
    assert_eq!(alice.tries_left(), 1);
    // Without --yes and without a terminal the last try is not spent.
    alice.run(&["recover"], "careful", Some(RIGHT)).expect(2);
    assert_eq!(alice.tries_left(), 1);
    alice.recover("owner", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
}

/// S09, S11, S23: regions are killed and hung in turn while an attacker guesses. Each wrong guess costs exactly one try.
#[test]
fn s09_kills_and_hangs_neither_spend_nor_give_tries() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let regions = fleet.regions();
    assert_eq!(regions.len(), 3);
    let mut left = 10;
    for (i, region) in regions.iter().enumerate() {
        fleet.region(if i % 2 == 0 { "kill" } else { "pause" }, region);
        alice.recover("thief", "wrong password entirely").expect(10);
        left -= 1;
        assert_eq!(alice.tries_left(), left);
        if i % 2 == 0 {
            fleet.start(region);
        } else {
            fleet.region("resume", region);
            fleet.wait_ready(3);
        }
        assert_eq!(alice.tries_left(), left);
    }
    alice.recover("owner", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
}

/// S23: with one of three regions down registrations and recoveries go on. Nothing acknowledged is lost when that region returns and another stops.
#[test]
fn s23_each_region_may_be_down_in_turn() {
    let fleet = Fleet::up();
    let regions = fleet.regions();
    let mut accounts = vec![fleet.registered("zero")];
    for (i, region) in regions.iter().enumerate() {
        fleet.region("kill", region);
        accounts.push(fleet.registered(&format!("during-{i}")));
        for a in &accounts {
            a.recover(&format!("device-{i}"), RIGHT).expect(0);
        }
        fleet.start(region);
    }
    // The whole fleet loses power at once and starts again.
    for region in &regions {
        fleet.region("kill", region);
    }
    for region in &regions {
        fleet.region("start", region);
    }
    fleet.wait_ready(3);
    for a in &accounts {
        a.recover("after-power-loss", RIGHT).expect(0);
    }
}

/// With two of three regions down the command exits with 69 (unreachable), and no try is spent.
#[test]
fn s23_without_a_majority_nothing_is_spent() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let regions = fleet.regions();
    fleet.region("kill", &regions[0]);
    fleet.region("kill", &regions[1]);
    alice.run(&["recover", "--timeout", "4"], "device", Some(RIGHT)).expect(69);
    fleet.region("start", &regions[0]);
    fleet.region("start", &regions[1]);
    fleet.wait_ready(3);
    // The attempt may have been charged or not; a success gives everything back.
    alice.recover("device", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
}
