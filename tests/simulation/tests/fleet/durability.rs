//! S08: before a region evaluates, the charge is on a majority's disks and the floor is on the region's own disk, whenever the power is lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bkv_client::RecoverOptions;
use bkv_client::Timing;
use bkv_core::document::Policy;
use bkv_core::id::AttemptId;
use bkv_simulation::disk::Side;
use bkv_simulation::network::Rule;
use bkv_simulation::{Options, RIGHT, Simulation, audit, eventually, raw_client, transport};
use bkv_wire::proto::inner::reply::Result as Answer;

const ANNA: &str = "anna";

fn images() -> Options {
    Options { images: true, ..Options::default() }
}

/// The leader or a follower loses power before or after each sync of an attempt. The client repeats its request and gets its key.
pub(crate) async fn s08_power_goes_at_every_sync_of_an_attempt(dir: PathBuf) {
    let sim = Simulation::up(dir, images()).await;
    let key = sim.register(ANNA).await;
    for follower in [false, true] {
        for side in [Side::Before, Side::After] {
            for nth in 1..20 {
                let leader = sim.leader().await;
                let victim = if follower { (leader + 1) % 3 } else { leader };
                sim.trap(victim, nth, side);
                let client = sim.client(ANNA);
                let trying =
                    tokio::spawn(async move { client.recover(RIGHT, RecoverOptions::default()).await });
                let sprung =
                    || (!sim.alive(victim)).then_some(true).or(trying.is_finished().then_some(false));
                let sprung = eventually("the attempt ends, or the power", sprung).await;
                if sprung {
                    sim.restart(victim).await;
                }
                let got = trying.await.unwrap();
                println!("follower {follower} {side:?} sync {nth}: sprung {sprung}");
                assert!(got.unwrap().key == key);
                sim.disk(victim).disarm();
                sim.settle().await;
                let evaluations = sim.witness.take_evaluations();
                assert!(evaluations.len() >= 2, "evaluations were not seen");
                sim.audit_durability(&evaluations).await;
                audit::audit_budget(&evaluations, 10);
                if !sprung {
                    assert!(nth > 2, "an attempt takes at least two syncs");
                    break;
                }
            }
        }
    }
    sim.down().await;
}

/// All machines lose power at the moment of an evaluation. The guess that an attacker may have seen evaluated stays charged.
pub(crate) async fn s08_all_power_goes_as_a_region_evaluates(dir: PathBuf) {
    let sim = Simulation::up(dir, images()).await;
    sim.register(ANNA).await;
    for n in 1..=2u8 {
        let (attempt, guess) = (AttemptId([n; 16]), raw_client::blinded("a guess"));
        let Answer::Begun(begun) = sim.insist(ANNA, &raw_client::begin(attempt, guess)).await else {
            panic!()
        };
        let evaluations = sim.witness.take_evaluations();
        sim.audit_durability(&evaluations).await;
        let first = evaluations.iter().find(|t| t.statement.attempt == attempt).unwrap();
        for i in 0..3 {
            sim.crash(i);
        }
        for (i, image) in first.durable.iter().enumerate() {
            sim.start_from(i, image.clone()).await;
        }
        sim.settle().await;
        // Another guess costs the next try.
        let other = AttemptId([100 + n; 16]);
        let Answer::Begun(next) =
            sim.insist(ANNA, &raw_client::begin(other, raw_client::blinded("another"))).await
        else {
            panic!()
        };
        assert_eq!(next.ordinal, begun.ordinal + 1);
        let refused = sim.insist(ANNA, &raw_client::begin(attempt, guess)).await;
        assert!(matches!(&refused, Answer::Refused(_)), "{refused:?}");
    }
    audit::audit_budget(&sim.witness.evaluations(), 10);
    sim.down().await;
}

/// Each answer is lost once, to the client and between the vaults. Nothing is charged twice.
pub(crate) async fn s08_answers_are_lost_on_every_way(dir: PathBuf) {
    let sim = Simulation::up(dir, images()).await;
    let key = sim.register(ANNA).await;
    let mut ordinal = 0;
    for nth in 1..20 {
        let transport = sim.transport(ANNA);
        transport.lose.store(nth, Ordering::SeqCst);
        let client = sim.client_over(ANNA, transport.clone());
        assert!(client.recover(RIGHT, RecoverOptions::default()).await.unwrap().key == key);
        sim.settle().await;
        let account = sim.account(0, ANNA).unwrap();
        assert_eq!((account.ordinal.0, account.lifetime_failures), (ordinal + 1, 0), "answer {nth}");
        ordinal = account.ordinal.0;
        if transport.answers.load(Ordering::SeqCst) < nth {
            assert!(nth > 3);
            break;
        }
    }
    for bytes in [0, 40, 400, 1500, 4000] {
        let leader = sim.leader().await;
        let (near, far) = ((leader + 1) % 3, (leader + 2) % 3);
        sim.hub.set_rule(near, leader, Rule::CutAfter(bytes));
        sim.hub.set_rule(leader, far, Rule::CutAfter(bytes));
        let client = sim.client(ANNA);
        let trying = tokio::spawn(async move { client.recover(RIGHT, RecoverOptions::default()).await });
        let cut = || {
            let cut = |a, b| sim.hub.rule_of(a, b) == Rule::Cut;
            (cut(near, leader) && cut(leader, far) || trying.is_finished()).then_some(())
        };
        eventually("the cut", cut).await;
        sim.hub.heal();
        assert!(trying.await.unwrap().unwrap().key == key);
        sim.settle().await;
        let account = sim.account(0, ANNA).unwrap();
        assert_eq!((account.ordinal.0, account.lifetime_failures), (ordinal + 1, 0), "cut after {bytes}");
        ordinal = account.ordinal.0;
    }
    sim.audit_durability(&sim.witness.evaluations()).await;
    sim.down().await;
}

/// A registration that was stored and never confirmed expires. The open attempt on the live registration keeps its floor and is answered again.
pub(crate) async fn s08_a_registration_that_expires_takes_no_floor_with_it(dir: PathBuf) {
    let policy = |p: &mut Policy| p.attempts.attempt_ms = 3_600_000;
    let sim = Simulation::up(dir, Options { policy: Some(policy), ..Options::default() }).await;
    let key = sim.register(ANNA).await;
    let begin = raw_client::begin(AttemptId([1; 16]), raw_client::blinded("a guess"));
    let answer = sim.insist(ANNA, &begin).await;
    assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
    let mut transport =
        transport::VaultTransport::new(sim.vaults.clone(), Simulation::route(ANNA), &sim.documents);
    transport.once = true;
    transport.lose.store(4, Ordering::SeqCst); // the answer to Store
    let timing = Timing { deadline: Duration::from_secs(1), ..Timing::default() };
    let options = bkv_client::RegisterOptions { key: Some(&key), ..Default::default() };
    let client = sim.client_over(ANNA, Arc::new(transport)).with_timing(timing);
    client.register("a quite other password", options).await.unwrap_err();
    let stored = |sim: &Simulation| (0..3).all(|i| sim.account(i, ANNA).unwrap().stored.is_some());
    eventually("it is stored", || stored(&sim).then_some(())).await;
    sim.machines.iter().for_each(|m| m.clock.offset(700_000));
    let expired = || (0..3).all(|i| sim.account(i, ANNA).unwrap().stored.is_none()).then_some(());
    eventually("it expires", expired).await;
    sim.settle().await;
    sim.witness.take_evaluations();
    let transport = sim.transport(ANNA);
    let mut raw = raw_client::RawClient::open(&sim, ANNA, &transport).await.unwrap();
    let answer = raw.ask(begin).await.unwrap();
    assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
    sim.down().await;
}
