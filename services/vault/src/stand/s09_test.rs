//! S09, S10: exactly the budget, under any schedule of crash, partition, replay, retry and concurrency.
//!
//! `BKV_SCHEDULES` says how many random schedules, `BKV_SEED` which comes first; a schedule that fails prints its seed.

use super::*;

on_a_stand!(
    /// Nine wrong, the tenth right although the leader dies in it: a key, and a full budget again. Then ten wrong: the eleventh is refused.
    s09_the_tenth_may_succeed_though_the_leader_dies_and_the_eleventh_is_refused
);
on_a_stand!(
    /// Random schedules with a budget of three.
    s09_s10_no_schedule_gives_more_guesses_than_the_budget
);
on_a_stand!(
    /// Twelve clients guess at once, each over and over, at a budget of ten.
    s10_concurrent_guesses_never_exceed_the_budget
);

mod body {
    use super::disk::Side;
    use super::net::Rule;
    use super::raw::Raw;
    use super::*;
    use bkv_client::{Error, LastTry, RecoverOptions, State};
    use bkv_core::id::AttemptId;
    use bkv_wire::proto::inner::reply::Result as Answer;
    use futures_util::future::join_all;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    const ANNA: &str = "anna";

    fn last() -> RecoverOptions<'static> {
        RecoverOptions { last_try: LastTry::Use, ..RecoverOptions::default() }
    }

    async fn wrong(stand: &Stand, left: u32) {
        let got = stand.client(ANNA).recover("not the password at all", last()).await;
        let right = match &got {
            Err(Error::WrongPassword { tries_left, .. }) => *tries_left == left,
            Err(Error::Destroyed) => left == 0,
            _ => false,
        };
        assert!(right, "{left} should be left: {got:?}");
    }

    pub(super) async fn s09_the_tenth_may_succeed_though_the_leader_dies_and_the_eleventh_is_refused(
        dir: PathBuf,
    ) {
        let stand = Stand::up(dir, Options { images: true, ..Options::default() }).await;
        let key = stand.register(ANNA).await;
        for side in [Side::Before, Side::After] {
            for left in (1..10).rev() {
                wrong(&stand, left).await;
            }
            stand.settle().await;
            let leader = stand.leader().await;
            // Its first sync is the charge, its second the floor: here the share has been touched elsewhere already.
            stand.trap(leader, 2, side);
            let client = stand.client(ANNA);
            let trying = tokio::spawn(async move { client.recover(RIGHT, last()).await });
            eventually("the leader dies", || (!stand.alive(leader)).then_some(())).await;
            stand.restart(leader).await;
            assert!(trying.await.unwrap().unwrap().key == key, "the last try may succeed");
            stand.settle().await;
            for i in 0..3 {
                assert_eq!(stand.account(i, ANNA).unwrap().tries_left(), 10);
            }
        }
        let before = stand.witness.take_touches();
        stand.audit_durability(&before).await;
        audit::audit_budget(&before, 10);
        for left in (0..10).rev() {
            wrong(&stand, left).await;
        }
        let ten = stand.witness.take_touches();
        audit::audit_budget(&ten, 10);
        let guesses: std::collections::BTreeSet<_> = ten.iter().map(Touch::guess).collect();
        assert_eq!(guesses.len(), 10, "exactly the budget");
        let eleventh = stand.client(ANNA).recover(RIGHT, last()).await;
        assert!(matches!(eleventh, Err(Error::Destroyed)), "{eleventh:?}");
        stand.restart_all().await;
        stand.settle().await;
        let eleventh = stand.client(ANNA).recover(RIGHT, last()).await;
        assert!(matches!(eleventh, Err(Error::Destroyed)), "{eleventh:?}");
        assert!(stand.witness.take_touches().is_empty(), "a share was touched after the end");
        stand.down().await;
    }

    /// Begins with fresh guesses, as fast as they are answered.
    async fn hammer(stand: &Stand, subject: &str, times: usize) {
        let wire = stand.wire(subject);
        for _ in 0..times {
            let attempt = AttemptId(rand::random());
            let Ok(mut raw) = Raw::open(stand, subject, &wire).await else { continue };
            let _ = raw.ask(raw::begin(attempt, raw::blinded("a guess"))).await;
        }
    }

    pub(super) async fn s10_concurrent_guesses_never_exceed_the_budget(dir: PathBuf) {
        let stand = Stand::up(dir, Options::default()).await;
        stand.register(ANNA).await;
        join_all((0..12).map(|_| hammer(&stand, ANNA, 3))).await;
        let touches = stand.witness.touches();
        audit::audit_budget(&touches, 10);
        for slot in 1..=3 {
            let of_region = touches.iter().filter(|t| t.slot.0 == slot).map(Touch::guess);
            let guesses: std::collections::BTreeSet<_> = of_region.collect();
            assert!(guesses.len() <= 10, "region {slot}: {} guesses", guesses.len());
        }
        let account = stand.account(stand.leader().await, ANNA).unwrap();
        assert_eq!((account.ordinal.0, account.tries_left()), (10, 0), "all were used");
        stand.down().await;
    }

    fn number(variable: &str, default: u64) -> u64 {
        std::env::var(variable).ok().map_or(default, |v| v.parse().unwrap())
    }

    pub(super) async fn s09_s10_no_schedule_gives_more_guesses_than_the_budget(dir: PathBuf) {
        let budget = |p: &mut Policy| p.attempts.max = 3;
        let stand =
            Stand::up(dir, Options { images: true, policy: Some(budget), ..Options::default() }).await;
        let first = number("BKV_SEED", u64::from(rand::random::<u32>()));
        for seed in first..first + number("BKV_SCHEDULES", 3) {
            println!("BKV_SEED={seed} BKV_SCHEDULES=1");
            schedule(&stand, seed).await;
        }
        stand.down().await;
    }

    /// Steps at one account until its key is gone, then a last look.
    async fn schedule(stand: &Stand, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let subject = format!("subject-{seed}");
        stand.register(&subject).await;
        let mut touches = stand.witness.take_touches();
        for step in 0..14 {
            let what = rng.gen_range(0..9);
            println!("  step {step}: {what}");
            match what {
                0 => {
                    let vault = rng.gen_range(0..3);
                    let torn = stand.disk(vault).torn_image(&mut rng);
                    let image = stand.crash(vault);
                    let image = if rng.gen_bool(0.5) { torn } else { image };
                    hammer(stand, &subject, 1).await;
                    stand.start_from(vault, image).await;
                }
                1 => {
                    let side = if rng.gen_bool(0.5) { Side::Before } else { Side::After };
                    let vault = rng.gen_range(0..3);
                    stand.trap(vault, rng.gen_range(1..4), side);
                    hammer(stand, &subject, 1).await;
                    stand.disk(vault).disarm();
                    if !stand.alive(vault) {
                        stand.restart(vault).await;
                    }
                }
                2 => {
                    let rule = if rng.gen_bool(0.5) { Rule::Hold } else { Rule::Cut };
                    stand.hub.around(rng.gen_range(0..3), rule);
                    hammer(stand, &subject, 1).await;
                    stand.hub.heal();
                }
                3 => {
                    for operation in stand.witness.requests().choose_multiple(&mut rng, 4).cloned() {
                        let wire = stand.wire(&subject);
                        if let Ok(mut raw) = Raw::open(stand, &subject, &wire).await {
                            let _ = raw.ask(operation).await;
                        }
                    }
                }
                4 => {
                    join_all((0..rng.gen_range(2..5)).map(|_| hammer(stand, &subject, 1))).await;
                }
                5 => {
                    stand.settle().await;
                    let wire = stand.wire(&subject);
                    wire.lose.store(rng.gen_range(1..5), Ordering::SeqCst);
                    let options = RecoverOptions { leave_last_try_open: true, ..last() };
                    let got = stand.client_over(&subject, wire).recover(RIGHT, options).await;
                    println!("    {:?}", got.map(|_| "recovered"));
                }
                6 => {
                    // A Begin and its closing, each perhaps at another leader.
                    let attempt = AttemptId(rng.r#gen());
                    let wire = stand.wire(&subject);
                    for operation in [raw::begin(attempt, raw::blinded("a guess")), raw::give_up(attempt)] {
                        if let Ok(mut raw) = Raw::open(stand, &subject, &wire).await {
                            let _ = raw.ask(operation).await;
                        }
                        stand.replica(stand.leader().await).step_down();
                    }
                }
                7 => {
                    let way = (rng.gen_range(0..3), rng.gen_range(0..3));
                    stand.hub.rule(way.0, way.1, Rule::Delay(Duration::from_millis(rng.gen_range(1..80))));
                }
                _ => stand.restart_all().await,
            }
            touches.extend(stand.witness.take_touches());
        }
        stand.hub.heal();
        stand.settle().await;
        // Whatever is left is used up; then it is over.
        let mut tries = 0;
        loop {
            let answer =
                stand.insist(&subject, &raw::begin(AttemptId(rng.r#gen()), raw::blinded("a guess"))).await;
            match answer {
                Answer::Begun(_) => tries += 1,
                Answer::Refused(_) => break,
                other => panic!("{other:?}"),
            }
            assert!(tries <= 3, "more tries than the budget at the end");
        }
        touches.extend(stand.witness.take_touches());
        audit::audit_budget(&touches, 3);
        stand.audit_durability(&touches).await;
        stand.settle().await;
        let states: Vec<_> = (0..3).map(|i| stand.account(i, &subject).unwrap()).collect();
        assert!(states.iter().all(|a| *a == states[0]), "the regions disagree");
        assert!(matches!(states[0].state(), State::LastTry | State::Destroyed), "{:?}", states[0].state());
    }
}
