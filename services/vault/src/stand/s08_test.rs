//! S08: the charge is on a majority's disks and the floor on the region's own before a share is touched, wherever the power goes.

use super::*;

on_a_stand!(
    /// The power of the leader, or of a follower, goes before or after each sync of an attempt. The client repeats the same and gets its key.
    s08_power_goes_at_every_sync_of_an_attempt
);
on_a_stand!(
    /// All power is lost at the moment of an evaluation: whoever has seen it has paid for it.
    s08_all_power_goes_as_a_region_evaluates
);
on_a_stand!(
    /// Each answer on the way is lost once: the client's, and those between the vaults. Nothing is charged twice.
    s08_answers_are_lost_on_every_way
);
on_a_stand!(
    /// A registration that was stored and never confirmed expires: the open attempt on the live one keeps its floor, and is answered again.
    s08_a_registration_that_expires_takes_no_floor_with_it
);

mod body {
    use super::disk::Side;
    use super::net::Rule;
    use super::*;
    use bkv_client::RecoverOptions;
    use bkv_core::id::AttemptId;
    use bkv_wire::proto::inner::reply::Result as Answer;

    const ANNA: &str = "anna";

    fn images() -> Options {
        Options { images: true, ..Options::default() }
    }

    pub(super) async fn s08_power_goes_at_every_sync_of_an_attempt(dir: PathBuf) {
        let stand = Stand::up(dir, images()).await;
        let key = stand.register(ANNA).await;
        for follower in [false, true] {
            for side in [Side::Before, Side::After] {
                for nth in 1..20 {
                    let leader = stand.leader().await;
                    let victim = if follower { (leader + 1) % 3 } else { leader };
                    stand.trap(victim, nth, side);
                    let client = stand.client(ANNA);
                    let trying =
                        tokio::spawn(async move { client.recover(RIGHT, RecoverOptions::default()).await });
                    let sprung =
                        || (!stand.alive(victim)).then_some(true).or(trying.is_finished().then_some(false));
                    let sprung = eventually("the attempt ends, or the power", sprung).await;
                    if sprung {
                        stand.restart(victim).await;
                    }
                    let got = trying.await.unwrap();
                    println!("follower {follower} {side:?} sync {nth}: sprung {sprung}");
                    assert!(got.unwrap().key == key);
                    stand.disk(victim).disarm();
                    stand.settle().await;
                    let touches = stand.witness.take_touches();
                    assert!(touches.len() >= 2, "evaluations were not seen");
                    stand.audit_durability(&touches).await;
                    audit::audit_budget(&touches, 10);
                    if !sprung {
                        assert!(nth > 2, "an attempt takes at least two syncs");
                        break;
                    }
                }
            }
        }
        stand.down().await;
    }

    pub(super) async fn s08_all_power_goes_as_a_region_evaluates(dir: PathBuf) {
        let stand = Stand::up(dir, images()).await;
        stand.register(ANNA).await;
        for n in 1..=2u8 {
            let (attempt, guess) = (AttemptId([n; 16]), raw::blinded("a guess"));
            let Answer::Begun(begun) = stand.insist(ANNA, &raw::begin(attempt, guess)).await else {
                panic!()
            };
            let touches = stand.witness.take_touches();
            stand.audit_durability(&touches).await;
            let first = touches.iter().find(|t| t.word.attempt == attempt).unwrap();
            for i in 0..3 {
                stand.crash(i);
            }
            for (i, image) in first.durable.iter().enumerate() {
                stand.start_from(i, image.clone()).await;
            }
            stand.settle().await;
            // Another guess is the next try, never the same one.
            let other = AttemptId([100 + n; 16]);
            let Answer::Begun(next) = stand.insist(ANNA, &raw::begin(other, raw::blinded("another"))).await
            else {
                panic!()
            };
            assert_eq!(next.ordinal, begun.ordinal + 1);
            let refused = stand.insist(ANNA, &raw::begin(attempt, guess)).await;
            assert!(matches!(&refused, Answer::Refused(_)), "{refused:?}");
        }
        audit::audit_budget(&stand.witness.touches(), 10);
        stand.down().await;
    }

    pub(super) async fn s08_answers_are_lost_on_every_way(dir: PathBuf) {
        let stand = Stand::up(dir, images()).await;
        let key = stand.register(ANNA).await;
        let mut ordinal = 0;
        for nth in 1..20 {
            let wire = stand.wire(ANNA);
            wire.lose.store(nth, Ordering::SeqCst);
            let client = stand.client_over(ANNA, wire.clone());
            assert!(client.recover(RIGHT, RecoverOptions::default()).await.unwrap().key == key);
            stand.settle().await;
            let account = stand.account(0, ANNA).unwrap();
            assert_eq!((account.ordinal.0, account.lifetime_failures), (ordinal + 1, 0), "answer {nth}");
            ordinal = account.ordinal.0;
            if wire.answers.load(Ordering::SeqCst) < nth {
                assert!(nth > 3);
                break;
            }
        }
        for bytes in [0, 40, 400, 1500, 4000] {
            let leader = stand.leader().await;
            let (near, far) = ((leader + 1) % 3, (leader + 2) % 3);
            stand.hub.rule(near, leader, Rule::CutAfter(bytes));
            stand.hub.rule(leader, far, Rule::CutAfter(bytes));
            let client = stand.client(ANNA);
            let trying = tokio::spawn(async move { client.recover(RIGHT, RecoverOptions::default()).await });
            let cut = || {
                let cut = |a, b| stand.hub.rule_of(a, b) == Rule::Cut;
                (cut(near, leader) && cut(leader, far) || trying.is_finished()).then_some(())
            };
            eventually("the cut", cut).await;
            stand.hub.heal();
            assert!(trying.await.unwrap().unwrap().key == key);
            stand.settle().await;
            let account = stand.account(0, ANNA).unwrap();
            assert_eq!((account.ordinal.0, account.lifetime_failures), (ordinal + 1, 0), "cut after {bytes}");
            ordinal = account.ordinal.0;
        }
        stand.audit_durability(&stand.witness.touches()).await;
        stand.down().await;
    }

    pub(super) async fn s08_a_registration_that_expires_takes_no_floor_with_it(dir: PathBuf) {
        let policy = |p: &mut Policy| p.attempts.attempt_ms = 3_600_000;
        let stand = Stand::up(dir, Options { policy: Some(policy), ..Options::default() }).await;
        let key = stand.register(ANNA).await;
        let begin = raw::begin(AttemptId([1; 16]), raw::blinded("a guess"));
        let answer = stand.insist(ANNA, &begin).await;
        assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
        let mut wire = wire::Wire::new(stand.vaults.clone(), Stand::route(ANNA), &stand.documents);
        wire.once = true;
        wire.lose.store(4, Ordering::SeqCst); // the answer to Store
        let timing = Timing { deadline: Duration::from_secs(1), ..Timing::default() };
        let options = bkv_client::RegisterOptions { key: Some(&key), ..Default::default() };
        let client = stand.client_over(ANNA, Arc::new(wire)).with_timing(timing);
        client.register("a quite other password", options).await.unwrap_err();
        let stored = |stand: &Stand| (0..3).all(|i| stand.account(i, ANNA).unwrap().stored.is_some());
        eventually("it is stored", || stored(&stand).then_some(())).await;
        stand.machines.iter().for_each(|m| m.clock.offset(700_000));
        let expired = || (0..3).all(|i| stand.account(i, ANNA).unwrap().stored.is_none()).then_some(());
        eventually("it expires", expired).await;
        stand.settle().await;
        stand.witness.take_touches();
        let wire = stand.wire(ANNA);
        let mut raw = raw::Raw::open(&stand, ANNA, &wire).await.unwrap();
        let answer = raw.ask(begin).await.unwrap();
        assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
        stand.down().await;
    }
}
