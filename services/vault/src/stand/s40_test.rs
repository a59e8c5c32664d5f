//! S40 (and S18 with it): a leader with a wrong clock neither makes a wait pass nor stops time.

use super::*;

on_a_stand!(
    /// A leader twenty seconds ahead, before anybody has compared clocks: by entry time a wait of ten is over, by the other regions' own clocks it is not.
    s40_a_leader_that_is_ahead_makes_no_wait_pass
);
on_a_stand!(
    /// The same when a region applies both attempts in one go, having been cut off meanwhile.
    s40_a_region_that_catches_up_does_not_skip_the_wait
);
on_a_stand!(
    /// A minute ahead: its entries are refused on arrival, and it steps aside.
    s40_a_leader_far_ahead_steps_aside
);
on_a_stand!(
    /// An hour behind: entry time does not go back, and it steps aside.
    s40_a_leader_far_behind_does_not_turn_time_back_and_steps_aside
);

/// S40: who is off is judged by a majority; of two that disagree the one that is ahead gives way, because the other refuses its entries.
#[test]
fn s40_the_majoritys_median_decides_and_in_doubt_the_one_ahead_gives_way() {
    use crate::run::median_offset;
    let hour = 3_600_000;
    assert_eq!(median_offset(vec![1, -2], 3), Some(0));
    assert_eq!(median_offset(vec![hour, hour + 9], 3), Some(hour));
    assert_eq!(median_offset(vec![-hour, 5], 3), Some(0), "one other alone is off");
    assert_eq!(median_offset(vec![hour], 3), Some(0), "this one is behind, or the other is ahead");
    assert_eq!(median_offset(vec![-hour], 3), Some(-hour), "this one is ahead, or the other is behind");
    assert_eq!(median_offset(vec![], 3), None);
    assert_eq!(median_offset(vec![], 1), Some(0));
    assert_eq!(median_offset(vec![-hour, -hour], 5), Some(-hour));
    assert_eq!(median_offset(vec![hour], 5), None);
}

mod body {
    use super::net::Rule;
    use super::raw::Raw;
    use super::*;
    use bkv_core::id::AttemptId;
    use bkv_wire::proto::inner::refused::Code;
    use bkv_wire::proto::inner::reply::Result as Answer;

    const ANNA: &str = "anna";

    fn waits() -> Options {
        let policy = |p: &mut Policy| p.attempts.waits_ms = vec![0, 10_000];
        Options { policy: Some(policy), no_chores: true, ..Options::default() }
    }

    /// Two tries without a wait; the third must wait ten seconds.
    async fn two_tries(stand: &Stand) {
        for n in 1..=2 {
            let answer = stand.insist(ANNA, &raw::begin(AttemptId([n; 16]), raw::blinded("a guess"))).await;
            assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
        }
        // S18: by honest clocks the third is refused, whoever asks.
        let answer = stand.insist(ANNA, &raw::begin(AttemptId([9; 16]), raw::blinded("a guess"))).await;
        assert!(matches!(&answer, Answer::Refused(r) if r.code() == Code::Wait), "{answer:?}");
        stand.settle().await;
        stand.witness.take_touches();
    }

    pub(super) async fn s40_a_leader_that_is_ahead_makes_no_wait_pass(dir: PathBuf) {
        let stand = Stand::up(dir, waits()).await;
        stand.register(ANNA).await;
        two_tries(&stand).await;
        let leader = stand.leader().await;
        stand.machines[leader].clock.offset(20_000);
        let wire = stand.wire(ANNA);
        let mut raw = Raw::open(&stand, ANNA, &wire).await.unwrap();
        let answer = raw.ask(raw::begin(AttemptId([3; 16]), raw::blinded("a guess"))).await.unwrap();
        assert!(
            matches!(&answer, Answer::Refused(r) if r.code() == Code::TooFewRegions && r.detail.contains("wait")),
            "{answer:?}"
        );
        // Only the region whose own clock is wrong believes it; one region is no threshold.
        let touches = stand.witness.touches();
        assert!(touches.iter().all(|t| usize::from(t.slot.0) == leader + 1), "another region evaluated");
        stand.down().await;
    }

    pub(super) async fn s40_a_region_that_catches_up_does_not_skip_the_wait(dir: PathBuf) {
        let stand = Stand::up(dir, waits()).await;
        stand.register(ANNA).await;
        let first = stand.insist(ANNA, &raw::begin(AttemptId([1; 16]), raw::blinded("a guess"))).await;
        assert!(matches!(first, Answer::Begun(_)), "{first:?}");
        stand.settle().await;
        // Eleven seconds pass: a wait measured from the first attempt would be over.
        stand.machines.iter().for_each(|m| m.clock.offset(11_000));
        let leader = stand.leader().await;
        let cut_off = (leader + 1) % 3;
        stand.hub.rule(leader, cut_off, Rule::Hold);
        // While this one is under way to the region, what follows it waits: both attempts then come in one message.
        let account = stand.id(ANNA);
        let harmless = Command::Expire(bkv_core::command::Expire { account });
        stand.replica(leader).propose(harmless, soon()).await.unwrap();
        let second = stand.insist(ANNA, &raw::begin(AttemptId([2; 16]), raw::blinded("a guess"))).await;
        assert!(matches!(second, Answer::Begun(_)), "{second:?}");
        stand.witness.take_touches();
        stand.machines[leader].clock.offset(31_000);
        let wire = stand.wire(ANNA);
        let mut raw = Raw::open(&stand, ANNA, &wire).await.unwrap();
        let asking =
            tokio::spawn(
                async move { raw.ask(raw::begin(AttemptId([3; 16]), raw::blinded("a guess"))).await },
            );
        let (other, id) = ((leader + 2) % 3, stand.id(ANNA));
        let begun = || {
            let account = stand.replica(other).account(&id).unwrap().unwrap();
            (account.ordinal.0 == 3).then_some(())
        };
        eventually("the third is charged", begun).await;
        stand.hub.heal();
        let caught_up = || {
            let account = stand.replica(cut_off).account(&id).unwrap().unwrap();
            (account.ordinal.0 == 3).then_some(())
        };
        eventually("the region has caught up", caught_up).await;
        // However often it is asked: nothing from a region whose own clock is right.
        let answer = asking.await.unwrap();
        println!("{answer:?}");
        let again = stand.replica(cut_off);
        let word =
            stand.vault(cut_off).evaluate(&again, &id, &AttemptId([3; 16]), again.applied(), soon()).await;
        assert!(word.as_ref().is_err_and(|why| why.starts_with("wait")), "{word:?}");
        let third = AttemptId([3; 16]);
        let touches = stand.witness.touches();
        let mut of_third = touches.iter().filter(|t| t.word.attempt == third);
        assert!(of_third.all(|t| usize::from(t.slot.0) == leader + 1), "another region evaluated");
        stand.down().await;
    }

    pub(super) async fn s40_a_leader_far_ahead_steps_aside(dir: PathBuf) {
        let stand = Stand::up(dir, Options::default()).await;
        let key = stand.register(ANNA).await;
        let leader = stand.leader().await;
        stand.machines[leader].clock.offset(60_000);
        let wire = stand.wire(ANNA);
        let mut raw = Raw::open(&stand, ANNA, &wire).await.unwrap();
        let answer = raw.ask(raw::begin(AttemptId([1; 16]), raw::blinded("a guess"))).await;
        assert!(!matches!(answer, Ok(Answer::Begun(_))), "{answer:?}");
        for i in (0..3).filter(|i| *i != leader) {
            assert_eq!(stand.account(i, ANNA).unwrap().ordinal.0, 0, "an entry from the future was taken");
        }
        assert!(stand.witness.touches().is_empty());
        let other = || (0..3).find(|i| *i != leader && stand.replica(*i).status().borrow().lead);
        eventually("another vault leads", other).await;
        let got = stand.client(ANNA).recover(RIGHT, bkv_client::RecoverOptions::default()).await;
        assert!(got.unwrap().key == key);
        stand.down().await;
    }

    pub(super) async fn s40_a_leader_far_behind_does_not_turn_time_back_and_steps_aside(dir: PathBuf) {
        let stand = Stand::up(dir, Options::default()).await;
        let key = stand.register(ANNA).await;
        let leader = stand.leader().await;
        let account = stand.id(ANNA);
        let expire = Command::Expire(bkv_core::command::Expire { account });
        let before = stand.replica(leader).propose(expire.clone(), soon()).await.unwrap();
        stand.machines[leader].clock.offset(-3_600_000);
        if let Ok(after) = stand.replica(leader).propose(expire.clone(), soon()).await {
            assert!(after.time >= before.time, "entry time went back");
        }
        let other = || (0..3).find(|i| *i != leader && stand.replica(*i).status().borrow().lead);
        let other = eventually("another vault leads", other).await;
        let later = stand.replica(other).propose(expire, soon()).await;
        assert!(later.is_ok_and(|l| l.time > before.time), "time stands still");
        let got = stand.client(ANNA).recover(RIGHT, bkv_client::RecoverOptions::default()).await;
        assert!(got.unwrap().key == key);
        stand.down().await;
    }
}
