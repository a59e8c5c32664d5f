//! S27: a disk, a token, a process or a clock that fails ends in a refused request with a reason, never in a lost write or a free guess.

use super::*;

on_a_stand!(
    /// The disk fills up, or its fsync fails, under one vault: it says so and ends; the others go on; from its disk it comes back with everything.
    s27_a_vault_whose_disk_refuses_ends_and_loses_nothing
);
on_a_stand!(
    /// The same under all three: refused with a reason, and every acknowledged thing is there after a start from the disks.
    s27_three_full_disks_refuse_and_lose_nothing
);
on_a_stand!(
    /// Slow disks only take longer; one that hangs is left behind until it goes on.
    s27_slow_and_hanging_disks_cost_time_only
);
on_a_stand!(
    /// One region's token away: the others do it. Two: refused with a reason, and the attempt is not charged twice.
    s27_dead_tokens_are_named
);
on_a_stand!(
    /// A token that hangs while it masks and while it certifies: the same as dead, until it goes on.
    s27_hanging_tokens_are_named
);
on_a_stand!(
    /// A leader that is stopped and goes on neither answers from the past nor evaluates what is superseded.
    s27_a_leader_that_was_paused_answers_nothing_old
);
on_a_stand!(
    /// A clock that jumps, forward and back, in each region in turn.
    s27_clocks_that_jump_cost_nothing
);

mod body {
    use super::disk::Fault;
    use super::net::Rule;
    use super::process::Hanging;
    use super::raw::Raw;
    use super::*;
    use bkv_client::{Error, RecoverOptions, RegisterOptions};
    use bkv_core::id::AttemptId;
    use bkv_wire::proto::inner::refused::Code;
    use bkv_wire::proto::inner::reply::Result as Answer;

    const ANNA: &str = "anna";

    fn unreachable<T>(got: &Result<T, Error>) -> bool {
        let cause = got.as_ref().err().map(Error::cause);
        matches!(cause, Some(Error::VaultUnreachable(_) | Error::ChatdUnreachable(_)))
    }

    async fn recovers(stand: &Stand, key: &bkv_client::BackupKey) {
        let got = stand.client(ANNA).recover(RIGHT, RecoverOptions::default()).await;
        assert!(got.unwrap().key == *key);
    }

    pub(super) async fn s27_a_vault_whose_disk_refuses_ends_and_loses_nothing(dir: PathBuf) {
        let stand = Stand::up(dir, Options { images: true, ..Options::default() }).await;
        let key = stand.register(ANNA).await;
        for fault in [Fault::Full, Fault::NoSync] {
            for follower in [false, true] {
                let leader = stand.leader().await;
                let victim = if follower { (leader + 1) % 3 } else { leader };
                stand.disk(victim).set(fault);
                // Whoever comes now is served by the others, or by it as far as it got; nothing is charged twice.
                let ordinal = stand.account((victim + 1) % 3, ANNA).unwrap().ordinal;
                recovers(&stand, &key).await;
                let why = tokio::time::timeout(SOON, stand.vault(victim).node.fatal()).await.unwrap();
                assert!(why.contains("can't write"), "{why}");
                // Fail-stop: with the fault gone nothing more is written.
                let (syncs, image) = (stand.disk(victim).syncs(), stand.disk(victim).image());
                stand.disk(victim).set(Fault::None);
                recovers(&stand, &key).await;
                assert_eq!(stand.disk(victim).syncs(), syncs, "it went on writing after {fault:?}");
                assert!(stand.disk(victim).image() == image);
                stand.restart(victim).await;
                stand.settle().await;
                for i in 0..3 {
                    let account = stand.account(i, ANNA).unwrap();
                    assert_eq!((account.ordinal.0, account.tries_left()), (ordinal.0 + 2, 10), "{fault:?}");
                }
            }
        }
        stand.audit_durability(&stand.witness.touches()).await;
        stand.down().await;
    }

    pub(super) async fn s27_three_full_disks_refuse_and_lose_nothing(dir: PathBuf) {
        let stand = Stand::up(dir, Options { images: true, ..Options::default() }).await;
        let key = stand.register(ANNA).await;
        recovers(&stand, &key).await;
        stand.settle().await;
        stand.witness.take_touches();
        for i in 0..3 {
            stand.disk(i).set(Fault::Full);
        }
        let short = bkv_client::Timing { deadline: Duration::from_secs(3), ..Default::default() };
        let got =
            stand.client(ANNA).with_timing(short.clone()).recover(RIGHT, RecoverOptions::default()).await;
        assert!(unreachable(&got), "{got:?}");
        let got = stand.client("ben").with_timing(short).register(RIGHT, RegisterOptions::default()).await;
        assert!(unreachable(&got), "{got:?}");
        assert!(stand.witness.take_touches().is_empty(), "a share was touched for what no disk took");
        stand.restart_all().await;
        stand.settle().await;
        let account = stand.account(0, ANNA).unwrap();
        assert_eq!((account.ordinal.0, account.tries_left()), (1, 10));
        recovers(&stand, &key).await;
        stand.down().await;
    }

    pub(super) async fn s27_slow_and_hanging_disks_cost_time_only(dir: PathBuf) {
        let stand = Stand::up(dir, Options { images: true, ..Options::default() }).await;
        let key = stand.register(ANNA).await;
        for i in 0..3 {
            stand.disk(i).set(Fault::Slow(Duration::from_millis(150)));
        }
        recovers(&stand, &key).await;
        for i in 0..3 {
            stand.disk(i).set(Fault::None);
        }
        for follower in [true, false] {
            stand.settle().await;
            let leader = stand.leader().await;
            let victim = if follower { (leader + 1) % 3 } else { leader };
            stand.disk(victim).set(Fault::Hung);
            // A leader with a disk that hangs takes nothing new, and may keep its place as long as its heart beats: refused, not lost.
            let timing = bkv_client::Timing { deadline: Duration::from_secs(4), ..Default::default() };
            let got = stand.client(ANNA).with_timing(timing).recover(RIGHT, RecoverOptions::default()).await;
            println!("follower {follower}: {:?}", got.as_ref().map(|_| "recovered"));
            match &got {
                Ok(got) => assert!(got.key == key),
                Err(_) if !follower => assert!(unreachable(&got), "{got:?}"),
                Err(e) => panic!("{e}"),
            }
            stand.disk(victim).set(Fault::None);
            recovers(&stand, &key).await;
        }
        stand.settle().await;
        let touches = stand.witness.touches();
        stand.audit_durability(&touches).await;
        audit::audit_budget(&touches, 10);
        stand.down().await;
    }

    fn take_away(stand: &Stand, i: usize) {
        let folder = process::token_folder(&stand.dir, i);
        std::fs::rename(&folder, stand.dir.join(format!("away-{i}"))).unwrap();
    }

    /// Begin with too few regions able to evaluate: refused with each region's reason; charged once, however often it is repeated.
    async fn refused_by(stand: &Stand, n: u8) {
        let begin = raw::begin(AttemptId([n; 16]), raw::blinded("a guess"));
        let mut ordinal = None;
        for _ in 0..2 {
            let wire = stand.wire(ANNA);
            let mut raw = Raw::open(stand, ANNA, &wire).await.unwrap();
            let answer = raw.ask(begin.clone()).await.unwrap();
            let named = |r: &bkv_wire::proto::inner::Refused| {
                r.code() == Code::TooFewRegions && r.detail.contains("token")
            };
            assert!(matches!(&answer, Answer::Refused(r) if named(r)), "{answer:?}");
            let account = stand.account(stand.leader().await, ANNA).unwrap();
            assert_eq!(*ordinal.get_or_insert(account.ordinal), account.ordinal, "charged twice");
        }
    }

    pub(super) async fn s27_dead_tokens_are_named(dir: PathBuf) {
        let stand = Stand::up(dir, Options::default()).await;
        let key = stand.register(ANNA).await;
        // A leader without its token can't begin a new inner channel: the next one to lead must have one.
        let leader = stand.leader().await;
        let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
        take_away(&stand, first);
        recovers(&stand, &key).await;
        let got = stand.client("ben").register(RIGHT, RegisterOptions::default()).await.unwrap();
        println!("silent: {:?}", got.not_acknowledged);
        recovers(&stand, &key).await;
        take_away(&stand, second);
        refused_by(&stand, 1).await;
        audit::audit_budget(&stand.witness.touches(), 10);
        stand.down().await;
    }

    pub(super) async fn s27_hanging_tokens_are_named(dir: PathBuf) {
        let stand = Stand::up(dir, Options { token_ms: Some(1000), ..Options::default() }).await;
        let key = stand.register(ANNA).await;
        let leader = stand.leader().await;
        let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
        let one = Hanging::token(&stand.dir, first);
        recovers(&stand, &key).await;
        // Masked later: the secrets are kept as they came.
        let got = stand.client("ben").register(RIGHT, RegisterOptions::default()).await.unwrap();
        println!("silent: {:?}", got.not_acknowledged);
        let two = Hanging::token(&stand.dir, second);
        refused_by(&stand, 1).await;
        drop((one, two));
        recovers(&stand, &key).await;
        let ben = stand.client("ben").recover(RIGHT, RecoverOptions::default()).await.unwrap();
        assert!(ben.key == got.key);
        audit::audit_budget(&stand.witness.touches(), 10);
        stand.down().await;
    }

    pub(super) async fn s27_a_leader_that_was_paused_answers_nothing_old(dir: PathBuf) {
        let stand = Stand::up(dir, Options { images: true, ..Options::default() }).await;
        stand.register(ANNA).await;
        let leader = stand.leader().await;
        let old = raw::begin(AttemptId([1; 16]), raw::blinded("a guess"));
        let wire = stand.wire(ANNA);
        let mut to_the_paused = Raw::open(&stand, ANNA, &wire).await.unwrap();
        let answer = to_the_paused.ask(old.clone()).await.unwrap();
        assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
        stand.disk(leader).set(Fault::Hung);
        stand.hub.around(leader, Rule::Hold);
        let other = || (0..3).find(|i| *i != leader && stand.replica(*i).status().borrow().lead);
        let other = eventually("another vault leads", other).await;
        let mut wire = Wire::new(stand.vaults.clone(), Stand::route(ANNA), &stand.documents);
        wire.only = Some(other);
        let mut raw = Raw::open(&stand, ANNA, &wire).await.unwrap();
        let new = raw.ask(raw::begin(AttemptId([2; 16]), raw::blinded("another"))).await.unwrap();
        assert!(matches!(new, Answer::Begun(_)), "{new:?}");
        // It goes on where it was, and is asked over the channel that it had: a new guess must not be answered by it.
        let late = tokio::spawn(async move {
            to_the_paused.ask(raw::begin(AttemptId([3; 16]), raw::blinded("a third"))).await
        });
        stand.disk(leader).set(Fault::None);
        stand.hub.heal();
        let late = late.await.unwrap();
        println!("{late:?}");
        stand.settle().await;
        let again = stand.insist(ANNA, &old).await;
        assert!(matches!(&again, Answer::Refused(r) if r.code() == Code::NoAttempt), "{again:?}");
        let touches = stand.witness.touches();
        stand.audit_durability(&touches).await;
        audit::audit_budget(&touches, 10);
        stand.down().await;
    }

    pub(super) async fn s27_clocks_that_jump_cost_nothing(dir: PathBuf) {
        let stand = Stand::up(dir, Options { images: true, ..Options::default() }).await;
        let key = stand.register(ANNA).await;
        let mut ordinal = 0;
        for jump in [3_600_000, -3_600_000, 10_000, -10_000] {
            for i in 0..3 {
                stand.machines[i].clock.offset(jump);
                recovers(&stand, &key).await;
                stand.machines[i].clock.offset(0);
                ordinal += 1;
                stand.settle().await;
                let account = stand.account(i, ANNA).unwrap();
                assert_eq!(
                    (account.ordinal.0, account.tries_left(), account.lifetime_failures),
                    (ordinal, 10, 0)
                );
            }
        }
        stand.audit_durability(&stand.witness.touches()).await;
        stand.down().await;
    }
}
