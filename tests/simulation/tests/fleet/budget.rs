//! S09, S10: regions evaluate exactly the budget, under any schedule of crash, partition, replay, retry and concurrency.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bkv_client::{Error, LastTry, RecoverOptions, State};
use bkv_core::document::Policy;
use bkv_core::id::AttemptId;
use bkv_simulation::disk::Side;
use bkv_simulation::network::Rule;
use bkv_simulation::raw_client::RawClient;
use bkv_simulation::witness::Evaluation;
use bkv_simulation::{Options, RIGHT, Simulation, audit, eventually, raw_client};
use bkv_wire::proto::inner::reply::Result as Answer;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

const ANNA: &str = "anna";

fn last() -> RecoverOptions<'static> {
    RecoverOptions { last_try: LastTry::Use, ..RecoverOptions::default() }
}

async fn wrong(sim: &Simulation, left: u32) {
    let got = sim.client(ANNA).recover("not the password at all", last()).await;
    let right = match &got {
        Err(Error::WrongPassword { tries_left, .. }) => *tries_left == left,
        Err(Error::Destroyed) => left == 0,
        _ => false,
    };
    assert!(right, "{left} should be left: {got:?}");
}

/// After nine wrong tries the tenth succeeds although the leader dies during it, and the budget is full again. After ten wrong tries the eleventh is refused.
pub(crate) async fn s09_the_tenth_may_succeed_though_the_leader_dies_and_the_eleventh_is_refused(
    dir: PathBuf,
) {
    let sim = Simulation::up(dir, Options { images: true, ..Options::default() }).await;
    let key = sim.register(ANNA).await;
    for side in [Side::Before, Side::After] {
        for left in (1..10).rev() {
            wrong(&sim, left).await;
        }
        sim.settle().await;
        let leader = sim.leader().await;
        // The first sync writes the charge, the second the floor. At the second, another region has evaluated already.
        sim.trap(leader, 2, side);
        let client = sim.client(ANNA);
        let trying = tokio::spawn(async move { client.recover(RIGHT, last()).await });
        eventually("the leader dies", || (!sim.alive(leader)).then_some(())).await;
        sim.restart(leader).await;
        assert!(trying.await.unwrap().unwrap().key == key, "the last try may succeed");
        sim.settle().await;
        for i in 0..3 {
            assert_eq!(sim.account(i, ANNA).unwrap().tries_left(), 10);
        }
    }
    let before = sim.witness.take_evaluations();
    sim.audit_durability(&before).await;
    audit::audit_budget(&before, 10);
    for left in (0..10).rev() {
        wrong(&sim, left).await;
    }
    let ten = sim.witness.take_evaluations();
    audit::audit_budget(&ten, 10);
    let guesses: std::collections::BTreeSet<_> = ten.iter().map(Evaluation::guess).collect();
    assert_eq!(guesses.len(), 10, "exactly the budget");
    let eleventh = sim.client(ANNA).recover(RIGHT, last()).await;
    assert!(matches!(eleventh, Err(Error::Destroyed)), "{eleventh:?}");
    sim.restart_all().await;
    sim.settle().await;
    let eleventh = sim.client(ANNA).recover(RIGHT, last()).await;
    assert!(matches!(eleventh, Err(Error::Destroyed)), "{eleventh:?}");
    assert!(sim.witness.take_evaluations().is_empty(), "a share was touched after the end");
    sim.down().await;
}

/// Begins fresh guesses, each as soon as the one before is answered.
async fn hammer(sim: &Simulation, subject: &str, times: usize) {
    let transport = sim.transport(subject);
    for _ in 0..times {
        let attempt = AttemptId(rand::random());
        let Ok(mut raw) = RawClient::open(sim, subject, &transport).await else { continue };
        let _ = raw.ask(raw_client::begin(attempt, raw_client::blinded("a guess"))).await;
    }
}

/// Guesses, each as soon as it is this client's turn, until the vaults take no more.
async fn exhaust(sim: &Simulation, subject: &str) {
    let transport = sim.transport(subject);
    loop {
        let attempt = AttemptId(rand::random());
        let Ok(mut raw) = RawClient::open(sim, subject, &transport).await else { continue };
        match raw.ask(raw_client::begin(attempt, raw_client::blinded("a guess"))).await {
            // The next guess needs not wait until this one's place ends.
            Ok(Answer::Begun(_)) => drop(raw.ask(raw_client::give_up(attempt)).await),
            Ok(Answer::Refused(r)) if !raw_client::passing(r.code()) => return,
            _ => {}
        }
    }
}

/// Twelve clients guess repeatedly at the same time, with a budget of ten.
pub(crate) async fn s10_concurrent_guesses_never_exceed_the_budget(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    sim.register(ANNA).await;
    join_all((0..12).map(|_| exhaust(&sim, ANNA))).await;
    let evaluations = sim.witness.evaluations();
    audit::audit_budget(&evaluations, 10);
    for slot in 1..=3 {
        let of_region = evaluations.iter().filter(|t| t.slot.0 == slot).map(Evaluation::guess);
        let guesses: std::collections::BTreeSet<_> = of_region.collect();
        assert!(guesses.len() <= 10, "region {slot}: {} guesses", guesses.len());
    }
    let account = sim.account(sim.leader().await, ANNA).unwrap();
    assert_eq!((account.ordinal.0, account.tries_left()), (10, 0), "all were used");
    sim.down().await;
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |v| v.parse().unwrap())
}

/// Random schedules with a budget of three.
pub(crate) async fn s09_s10_no_schedule_gives_more_guesses_than_the_budget(dir: PathBuf) {
    let budget = |p: &mut Policy| p.attempts.max = 3;
    let sim = Simulation::up(dir, Options { images: true, policy: Some(budget), ..Options::default() }).await;
    let first = number("BKV_SEED", u64::from(rand::random::<u32>()));
    for seed in first..first + number("BKV_SCHEDULES", 3) {
        println!("BKV_SEED={seed} BKV_SCHEDULES=1");
        Box::pin(schedule(&sim, seed)).await;
    }
    sim.down().await;
}

/// Takes random steps at one account until its key is destroyed, then checks it once more.
async fn schedule(sim: &Simulation, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let subject = format!("subject-{seed}");
    sim.register(&subject).await;
    let mut evaluations = sim.witness.take_evaluations();
    for step in 0..14 {
        let what = rng.gen_range(0..9);
        println!("  step {step}: {what}");
        match what {
            0 => {
                let vault = rng.gen_range(0..3);
                let torn = sim.disk(vault).torn_image(&mut rng);
                let image = sim.crash(vault);
                let image = if rng.gen_bool(0.5) { torn } else { image };
                hammer(sim, &subject, 1).await;
                sim.start_from(vault, image).await;
            }
            1 => {
                let side = if rng.gen_bool(0.5) { Side::Before } else { Side::After };
                let vault = rng.gen_range(0..3);
                sim.trap(vault, rng.gen_range(1..4), side);
                hammer(sim, &subject, 1).await;
                sim.disk(vault).disarm();
                if !sim.alive(vault) {
                    sim.restart(vault).await;
                }
            }
            2 => {
                let rule = if rng.gen_bool(0.5) { Rule::Hold } else { Rule::Cut };
                sim.hub.around(rng.gen_range(0..3), rule);
                hammer(sim, &subject, 1).await;
                sim.hub.heal();
            }
            3 => {
                for operation in sim.witness.requests().choose_multiple(&mut rng, 4).cloned() {
                    let transport = sim.transport(&subject);
                    if let Ok(mut raw) = RawClient::open(sim, &subject, &transport).await {
                        let _ = raw.ask(operation).await;
                    }
                }
            }
            4 => {
                join_all((0..rng.gen_range(2..5)).map(|_| hammer(sim, &subject, 1))).await;
            }
            5 => {
                sim.settle().await;
                let transport = sim.transport(&subject);
                transport.lose.store(rng.gen_range(1..5), Ordering::SeqCst);
                let options = RecoverOptions { leave_last_try_open: true, ..last() };
                let got = sim.client_over(&subject, transport).recover(RIGHT, options).await;
                println!("    {:?}", got.map(|_| "recovered"));
            }
            6 => {
                // A Begin and its GiveUp, perhaps at different leaders.
                let attempt = AttemptId(rng.r#gen());
                let transport = sim.transport(&subject);
                for operation in
                    [raw_client::begin(attempt, raw_client::blinded("a guess")), raw_client::give_up(attempt)]
                {
                    if let Ok(mut raw) = RawClient::open(sim, &subject, &transport).await {
                        let _ = raw.ask(operation).await;
                    }
                    sim.replica(sim.leader().await).step_down();
                }
            }
            7 => {
                let way = (rng.gen_range(0..3), rng.gen_range(0..3));
                sim.hub.set_rule(way.0, way.1, Rule::Delay(Duration::from_millis(rng.gen_range(1..80))));
            }
            _ => sim.restart_all().await,
        }
        evaluations.extend(sim.witness.take_evaluations());
    }
    sim.hub.heal();
    sim.settle().await;
    // The remaining tries are used up. Then every Begin is refused.
    let mut tries = 0;
    loop {
        let answer = sim
            .insist(&subject, &raw_client::begin(AttemptId(rng.r#gen()), raw_client::blinded("a guess")))
            .await;
        match answer {
            Answer::Begun(_) => tries += 1,
            Answer::Refused(_) => break,
            other => panic!("{other:?}"),
        }
        assert!(tries <= 3, "more tries than the budget at the end");
    }
    evaluations.extend(sim.witness.take_evaluations());
    audit::audit_budget(&evaluations, 3);
    sim.audit_durability(&evaluations).await;
    sim.settle().await;
    let states: Vec<_> = (0..3).map(|i| sim.account(i, &subject).unwrap()).collect();
    assert!(states.iter().all(|a| *a == states[0]), "the regions disagree");
    assert!(matches!(states[0].state(), State::LastTry | State::Destroyed), "{:?}", states[0].state());
}
