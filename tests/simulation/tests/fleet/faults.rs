//! S27: a fault of a disk, a token, a process or a clock causes a refused request with a reason, never a lost write or a free guess.

use std::path::PathBuf;
use std::time::Duration;

use bkv_client::{Error, RecoverOptions, RegisterOptions};
use bkv_core::id::AttemptId;
use bkv_simulation::disk::Fault;
use bkv_simulation::network::Rule;
use bkv_simulation::raw_client::RawClient;
use bkv_simulation::token::Hanging;
use bkv_simulation::transport::VaultTransport;
use bkv_simulation::{Options, RIGHT, Simulation, audit, eventually, raw_client, soon, token};
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;

const ANNA: &str = "anna";

fn unreachable<T>(got: &Result<T, Error>) -> bool {
    let cause = got.as_ref().err().map(Error::cause);
    matches!(cause, Some(Error::VaultUnreachable(_) | Error::ChatdUnreachable(_)))
}

async fn recovers(sim: &Simulation, key: &bkv_client::BackupKey) {
    let got = sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await;
    assert!(got.unwrap().key == *key);
}

/// One vault's disk is full or its fsync fails. The vault reports the fault and stops, the others go on, and it restarts from its disk without loss.
pub(crate) async fn s27_a_vault_whose_disk_refuses_ends_and_loses_nothing(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { images: true, ..Options::default() }).await;
    let key = sim.register(ANNA).await;
    for fault in [Fault::Full, Fault::NoSync] {
        for follower in [false, true] {
            let leader = sim.leader().await;
            let victim = if follower { (leader + 1) % 3 } else { leader };
            sim.disk(victim).set(fault);
            // The other vaults serve clients now, or this one as far as it got. Nothing is charged twice.
            let ordinal = sim.account((victim + 1) % 3, ANNA).unwrap().ordinal;
            recovers(&sim, &key).await;
            let why = tokio::time::timeout_at(soon(), sim.vault(victim).node().fatal()).await.unwrap();
            assert!(why.contains("can't write"), "{why}");
            // Fail-stop: the vault writes nothing more after the fault is gone.
            let (syncs, image) = (sim.disk(victim).syncs(), sim.disk(victim).image());
            sim.disk(victim).set(Fault::None);
            recovers(&sim, &key).await;
            assert_eq!(sim.disk(victim).syncs(), syncs, "it went on writing after {fault:?}");
            assert!(sim.disk(victim).image() == image);
            sim.restart(victim).await;
            sim.settle().await;
            for i in 0..3 {
                let account = sim.account(i, ANNA).unwrap();
                assert_eq!((account.ordinal.0, account.tries_left()), (ordinal.0 + 2, 10), "{fault:?}");
            }
        }
    }
    sim.audit_durability(&sim.witness.evaluations()).await;
    sim.down().await;
}

/// The same fault at all three: requests are refused with a reason, and everything that was acknowledged is there after a restart from the disks.
pub(crate) async fn s27_three_full_disks_refuse_and_lose_nothing(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { images: true, ..Options::default() }).await;
    let key = sim.register(ANNA).await;
    recovers(&sim, &key).await;
    sim.settle().await;
    sim.witness.take_evaluations();
    for i in 0..3 {
        sim.disk(i).set(Fault::Full);
    }
    let short = bkv_client::Timing { deadline: Duration::from_secs(3), ..Default::default() };
    let got = sim.client(ANNA).with_timing(short.clone()).recover(RIGHT, RecoverOptions::default()).await;
    assert!(unreachable(&got), "{got:?}");
    let got = sim.client("ben").with_timing(short).register(RIGHT, RegisterOptions::default()).await;
    assert!(unreachable(&got), "{got:?}");
    assert!(sim.witness.take_evaluations().is_empty(), "a share was touched for what no disk took");
    sim.restart_all().await;
    sim.settle().await;
    let account = sim.account(0, ANNA).unwrap();
    assert_eq!((account.ordinal.0, account.tries_left()), (1, 10));
    recovers(&sim, &key).await;
    sim.down().await;
}

/// Vaults that start on full disks serve what needs no room: they attest, and an attempt that was open can end. They refuse what would grow, in words and
/// without a charge, until there is room again.
pub(crate) async fn s27_a_vault_starts_on_a_full_disk(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let open = AttemptId([1; 16]);
    let begun = sim.insist(ANNA, &raw_client::begin(open, raw_client::blinded("a guess"))).await;
    assert!(matches!(begun, Answer::Begun(_)), "{begun:?}");
    let images: Vec<_> = (0..3).map(|i| sim.crash(i)).collect();
    for (i, image) in images.into_iter().enumerate() {
        sim.start_with(i, image, Fault::NoRoom).await;
    }
    sim.settle().await;
    for i in 0..3 {
        let report = sim.vault(i).node().volume().report().unwrap();
        assert!(report.is_full() && report.space.free == 0, "{report:?}");
    }
    let refused = |answer: &Answer| matches!(answer, Answer::Refused(r) if r.code() == Code::Full && r.detail.contains("disk is nearly full"));
    let guess = raw_client::begin(AttemptId([2; 16]), raw_client::blinded("another guess"));
    let answer = sim.insist(ANNA, &guess).await;
    assert!(refused(&answer), "{answer:?}");
    let short = bkv_client::Timing { deadline: Duration::from_secs(2), ..Default::default() };
    let got = sim.client("ben").with_timing(short).register(RIGHT, RegisterOptions::default()).await;
    assert!(got.as_ref().is_err_and(|e| e.to_string().contains("disk is nearly full")), "{got:?}");
    let status = sim.client(ANNA).status().await.unwrap();
    assert_eq!(status.tries_left, 9, "the open attempt is counted, and no other");
    let ended = sim.insist(ANNA, &raw_client::give_up(open)).await;
    assert!(matches!(ended, Answer::Done(_)), "{ended:?}");
    for i in 0..3 {
        sim.disk(i).set(Fault::None);
    }
    recovers(&sim, &key).await;
    sim.down().await;
}

/// Slow disks only cost time. The others go on without a vault whose disk hangs.
pub(crate) async fn s27_slow_and_hanging_disks_cost_time_only(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { images: true, ..Options::default() }).await;
    let key = sim.register(ANNA).await;
    for i in 0..3 {
        sim.disk(i).set(Fault::Slow(Duration::from_millis(150)));
    }
    recovers(&sim, &key).await;
    for i in 0..3 {
        sim.disk(i).set(Fault::None);
    }
    for follower in [true, false] {
        sim.settle().await;
        let leader = sim.leader().await;
        let victim = if follower { (leader + 1) % 3 } else { leader };
        sim.disk(victim).set(Fault::Hung);
        // A leader whose disk hangs takes no proposals, but it may stay leader while it sends heartbeats. Requests are refused, not lost.
        let timing = bkv_client::Timing { deadline: Duration::from_secs(4), ..Default::default() };
        let got = sim.client(ANNA).with_timing(timing).recover(RIGHT, RecoverOptions::default()).await;
        println!("follower {follower}: {:?}", got.as_ref().map(|_| "recovered"));
        match &got {
            Ok(got) => assert!(got.key == key),
            Err(_) if !follower => assert!(unreachable(&got), "{got:?}"),
            Err(e) => panic!("{e}"),
        }
        sim.disk(victim).set(Fault::None);
        recovers(&sim, &key).await;
    }
    sim.settle().await;
    let evaluations = sim.witness.evaluations();
    sim.audit_durability(&evaluations).await;
    audit::audit_budget(&evaluations, 10);
    sim.down().await;
}

fn take_away(sim: &Simulation, i: usize) {
    let folder = token::folder(&sim.dir, i);
    std::fs::rename(&folder, sim.dir.join(format!("away-{i}"))).unwrap();
}

/// With too few regions able to evaluate, Begin is refused with each region's reason, and charged once however often it is repeated.
async fn refused_by(sim: &Simulation, n: u8) {
    let begin = raw_client::begin(AttemptId([n; 16]), raw_client::blinded("a guess"));
    let mut ordinal = None;
    let named =
        |r: &bkv_wire::proto::inner::Refused| r.code() == Code::TooFewRegions && r.detail.contains("token");
    for _ in 0..2 {
        let until = soon();
        // Other passing refusals may come first, while a leader changes or before each token is known to be dead.
        loop {
            let transport = sim.transport(ANNA);
            let answer = match RawClient::open(sim, ANNA, &transport).await {
                Ok(mut raw) => raw.ask(begin.clone()).await,
                Err(e) => Err(e),
            };
            match &answer {
                Ok(Answer::Refused(r)) if named(r) => break,
                Ok(Answer::Refused(r)) if raw_client::passing(r.code()) => {}
                Err(_) => {}
                Ok(_) => panic!("{answer:?}"),
            }
            assert!(tokio::time::Instant::now() < until, "no region names its token: {answer:?}");
        }
        let account = sim.account(sim.leader().await, ANNA).unwrap();
        assert_eq!(*ordinal.get_or_insert(account.ordinal), account.ordinal, "charged twice");
    }
}

/// With one token missing, the other regions serve. With two missing, requests are refused with a reason, and the attempt is not charged twice.
pub(crate) async fn s27_dead_tokens_are_named(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    // A leader without its token can't open an inner channel, so the next leader must have its token.
    let leader = sim.leader().await;
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    take_away(&sim, first);
    recovers(&sim, &key).await;
    let got = sim.client("ben").register(RIGHT, RegisterOptions::default()).await.unwrap();
    println!("silent: {:?}", got.not_acknowledged);
    recovers(&sim, &key).await;
    take_away(&sim, second);
    refused_by(&sim, 1).await;
    audit::audit_budget(&sim.witness.evaluations(), 10);
    sim.down().await;
}

/// A token that hangs while it masks or certifies counts as dead until it answers again.
pub(crate) async fn s27_hanging_tokens_are_named(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { token_ms: Some(1000), ..Options::default() }).await;
    let key = sim.register(ANNA).await;
    let leader = sim.leader().await;
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    let one = Hanging::token(&sim.dir, first);
    recovers(&sim, &key).await;
    // The secrets are kept unmasked and masked later.
    let got = sim.client("ben").register(RIGHT, RegisterOptions::default()).await.unwrap();
    println!("silent: {:?}", got.not_acknowledged);
    let two = Hanging::token(&sim.dir, second);
    refused_by(&sim, 1).await;
    drop((one, two));
    recovers(&sim, &key).await;
    let ben = sim.client("ben").recover(RIGHT, RecoverOptions::default()).await.unwrap();
    assert!(ben.key == got.key);
    audit::audit_budget(&sim.witness.evaluations(), 10);
    sim.down().await;
}

/// A leader that was paused neither answers from old state nor evaluates a superseded attempt.
pub(crate) async fn s27_a_leader_that_was_paused_answers_nothing_old(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { images: true, ..Options::default() }).await;
    sim.register(ANNA).await;
    let leader = sim.leader().await;
    let old = raw_client::begin(AttemptId([1; 16]), raw_client::blinded("a guess"));
    let transport = sim.transport(ANNA);
    let mut to_the_paused = RawClient::open(&sim, ANNA, &transport).await.unwrap();
    let answer = to_the_paused.ask(old.clone()).await.unwrap();
    assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
    sim.disk(leader).set(Fault::Hung);
    sim.hub.around(leader, Rule::Hold);
    let other = || (0..3).find(|i| *i != leader && sim.replica(*i).status().borrow().lead);
    let other = eventually("another vault leads", other).await;
    let mut transport = VaultTransport::new(sim.vaults.clone(), Simulation::route(ANNA), &sim.documents);
    transport.only = Some(other);
    let mut raw = RawClient::open(&sim, ANNA, &transport).await.unwrap();
    let new = raw.ask(raw_client::begin(AttemptId([2; 16]), raw_client::blinded("another"))).await.unwrap();
    assert!(matches!(new, Answer::Begun(_)), "{new:?}");
    // The old leader resumes and gets a new guess over its old channel. It must not answer the guess.
    let late = tokio::spawn(async move {
        to_the_paused.ask(raw_client::begin(AttemptId([3; 16]), raw_client::blinded("a third"))).await
    });
    sim.disk(leader).set(Fault::None);
    sim.hub.heal();
    let late = late.await.unwrap();
    println!("{late:?}");
    sim.settle().await;
    let again = sim.insist(ANNA, &old).await;
    assert!(matches!(&again, Answer::Refused(r) if r.code() == Code::NoAttempt), "{again:?}");
    let evaluations = sim.witness.evaluations();
    sim.audit_durability(&evaluations).await;
    audit::audit_budget(&evaluations, 10);
    sim.down().await;
}

/// Each region's clock in turn jumps forward and back.
pub(crate) async fn s27_clocks_that_jump_cost_nothing(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { images: true, ..Options::default() }).await;
    let key = sim.register(ANNA).await;
    let mut ordinal = 0;
    for jump in [3_600_000, -3_600_000, 10_000, -10_000] {
        for i in 0..3 {
            sim.machines[i].clock.offset(jump);
            recovers(&sim, &key).await;
            sim.machines[i].clock.offset(0);
            ordinal += 1;
            sim.settle().await;
            let account = sim.account(i, ANNA).unwrap();
            assert_eq!(
                (account.ordinal.0, account.tries_left(), account.lifetime_failures),
                (ordinal, 10, 0)
            );
        }
    }
    sim.audit_durability(&sim.witness.evaluations()).await;
    sim.down().await;
}
