//! S40 (and S18): a leader with a wrong clock neither shortens a wait nor stops entry time.

use std::path::PathBuf;

use bkv_core::command::Command;
use bkv_core::document::Policy;
use bkv_core::id::AttemptId;
use bkv_simulation::network::Rule;
use bkv_simulation::raw_client::RawClient;
use bkv_simulation::{Options, RIGHT, Simulation, eventually, raw_client, soon};
use bkv_vault::service::{Asker, RegionError};
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;

const ANNA: &str = "anna";

fn waits() -> Options {
    let policy = |p: &mut Policy| p.attempts.waits_ms = vec![0, 10_000];
    Options { policy: Some(policy), no_chores: true, ..Options::default() }
}

/// Makes two tries without a wait. The third must wait ten seconds.
async fn two_tries(sim: &Simulation) {
    for n in 1..=2 {
        let answer =
            sim.insist(ANNA, &raw_client::begin(AttemptId([n; 16]), raw_client::blinded("a guess"))).await;
        assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
    }
    // S18: by honest clocks the third is refused for every client.
    let answer =
        sim.insist(ANNA, &raw_client::begin(AttemptId([9; 16]), raw_client::blinded("a guess"))).await;
    assert!(matches!(&answer, Answer::Refused(r) if r.code() == Code::Wait), "{answer:?}");
    sim.settle().await;
    sim.witness.take_evaluations();
}

/// A leader is twenty seconds ahead before the vaults have compared clocks. A wait of ten seconds is over by entry time, but not by the other regions' own clocks.
pub(crate) async fn s40_a_leader_that_is_ahead_makes_no_wait_pass(dir: PathBuf) {
    let sim = Simulation::up(dir, waits()).await;
    sim.register(ANNA).await;
    two_tries(&sim).await;
    let leader = sim.leader().await;
    sim.machines[leader].clock.offset(20_000);
    let transport = sim.transport(ANNA);
    let mut raw = RawClient::open(&sim, ANNA, &transport).await.unwrap();
    let answer =
        raw.ask(raw_client::begin(AttemptId([3; 16]), raw_client::blinded("a guess"))).await.unwrap();
    assert!(
        matches!(&answer, Answer::Refused(r) if r.code() == Code::TooFewRegions && r.detail.contains("wait")),
        "{answer:?}"
    );
    // Only the region with the wrong clock evaluates. One region is below the threshold.
    let evaluations = sim.witness.evaluations();
    assert!(evaluations.iter().all(|t| usize::from(t.slot.0) == leader + 1), "another region evaluated");
    sim.down().await;
}

/// The same for a region that was cut off and then applies both attempts from one message.
pub(crate) async fn s40_a_region_that_catches_up_does_not_skip_the_wait(dir: PathBuf) {
    let sim = Simulation::up(dir, waits()).await;
    sim.register(ANNA).await;
    let first =
        sim.insist(ANNA, &raw_client::begin(AttemptId([1; 16]), raw_client::blinded("a guess"))).await;
    assert!(matches!(first, Answer::Begun(_)), "{first:?}");
    sim.settle().await;
    // Eleven seconds pass, so a wait measured from the first attempt would be over.
    sim.machines.iter().for_each(|m| m.clock.offset(11_000));
    let leader = sim.leader().await;
    let cut_off = (leader + 1) % 3;
    sim.hub.set_rule(leader, cut_off, Rule::Hold);
    // Entries queue behind this one while the network holds it, so both attempts then arrive in one message.
    let account = sim.id(ANNA);
    let harmless = Command::Expire(bkv_core::command::Expire { account });
    sim.replica(leader).propose(harmless, soon()).await.unwrap();
    let second =
        sim.insist(ANNA, &raw_client::begin(AttemptId([2; 16]), raw_client::blinded("a guess"))).await;
    assert!(matches!(second, Answer::Begun(_)), "{second:?}");
    sim.witness.take_evaluations();
    sim.machines[leader].clock.offset(31_000);
    let transport = sim.transport(ANNA);
    let mut raw = RawClient::open(&sim, ANNA, &transport).await.unwrap();
    let third = raw_client::begin(AttemptId([3; 16]), raw_client::blinded("a guess"));
    let asking = tokio::spawn(async move {
        loop {
            let answer = raw.ask(third.clone()).await;
            // It is not its turn while the second has its place.
            if !matches!(&answer, Ok(Answer::Refused(r)) if r.code() == Code::Busy) {
                return answer;
            }
        }
    });
    let (other, id) = ((leader + 2) % 3, sim.id(ANNA));
    let begun = || {
        let account = sim.replica(other).account(&id).unwrap().unwrap();
        (account.ordinal.0 == 3).then_some(())
    };
    eventually("the third is charged", begun).await;
    sim.hub.heal();
    let caught_up = || {
        let account = sim.replica(cut_off).account(&id).unwrap().unwrap();
        (account.ordinal.0 == 3).then_some(())
    };
    eventually("the region has caught up", caught_up).await;
    // A region whose own clock is right never evaluates the third attempt, however often it is asked.
    let answer = asking.await.unwrap();
    println!("{answer:?}");
    let again = sim.replica(cut_off);
    let third = AttemptId([3; 16]);
    let vault = sim.vault(cut_off);
    let person = vault.person(&sim.token(ANNA)).await.unwrap();
    let asker = Asker { person: &person, nonce: &[3; 32], proof: None };
    let answer = vault.evaluate(&again, asker, &third, true, again.applied(), soon()).await;
    assert!(matches!(answer, Err(RegionError::Wait { .. })), "{answer:?}");
    let evaluations = sim.witness.evaluations();
    let mut of_third = evaluations.iter().filter(|t| t.statement.attempt == third);
    assert!(of_third.all(|t| usize::from(t.slot.0) == leader + 1), "another region evaluated");
    sim.down().await;
}

/// Followers refuse the entries of a leader that is a minute ahead, and it steps down.
pub(crate) async fn s40_a_leader_far_ahead_steps_aside(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let leader = sim.leader().await;
    // The channel is opened first: with the wrong clock the leader may step down at any moment.
    let transport = sim.transport(ANNA);
    let mut raw = RawClient::open(&sim, ANNA, &transport).await.unwrap();
    sim.machines[leader].clock.offset(60_000);
    let answer = raw.ask(raw_client::begin(AttemptId([1; 16]), raw_client::blinded("a guess"))).await;
    assert!(!matches!(answer, Ok(Answer::Begun(_))), "{answer:?}");
    for i in (0..3).filter(|i| *i != leader) {
        assert_eq!(sim.account(i, ANNA).unwrap().ordinal.0, 0, "an entry from the future was taken");
    }
    assert!(sim.witness.evaluations().is_empty());
    let other = || (0..3).find(|i| *i != leader && sim.replica(*i).status().borrow().lead);
    eventually("another vault leads", other).await;
    let got = sim.client(ANNA).recover(RIGHT, bkv_client::RecoverOptions::default()).await;
    assert!(got.unwrap().key == key);
    sim.down().await;
}

/// With a leader that is an hour behind, entry time does not go back, and the leader steps down.
pub(crate) async fn s40_a_leader_far_behind_does_not_turn_time_back_and_steps_aside(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let leader = sim.leader().await;
    let account = sim.id(ANNA);
    let expire = Command::Expire(bkv_core::command::Expire { account });
    let before = sim.replica(leader).propose(expire.clone(), soon()).await.unwrap();
    sim.machines[leader].clock.offset(-3_600_000);
    if let Ok(after) = sim.replica(leader).propose(expire.clone(), soon()).await {
        assert!(after.time >= before.time, "entry time went back");
    }
    let other = || (0..3).find(|i| *i != leader && sim.replica(*i).status().borrow().lead);
    // Leadership may move once more before the proposal.
    let mut later = Err("no proposal".to_owned());
    for _ in 0..10 {
        let other = eventually("another vault leads", other).await;
        later = sim.replica(other).propose(expire.clone(), soon()).await.map_err(|e| e.to_string());
        if later.is_ok() {
            break;
        }
    }
    assert!(later.as_ref().is_ok_and(|l| l.time > before.time), "time stands still: {later:?}");
    let got = sim.client(ANNA).recover(RIGHT, bkv_client::RecoverOptions::default()).await;
    assert!(got.unwrap().key == key);
    sim.down().await;
}
