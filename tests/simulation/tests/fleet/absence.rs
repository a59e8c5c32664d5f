//! A region that was away for longer than the log is kept, and a region that hangs.

use std::path::PathBuf;

use bkv_client::{RecoverOptions, RegisterOptions};
use bkv_core::account::State;
use bkv_simulation::disk::Fault;
use bkv_simulation::network::Rule;
use bkv_simulation::raw_client::RawClient;
use bkv_simulation::{Options, RIGHT, Simulation, eventually};
use bkv_vault::replica::Phase;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;

const ANNA: &str = "anna";
const BERT: &str = "bert";
const CARLA: &str = "carla";
const DORA: &str = "dora";
const NEW: &str = "another otter paints the south door";

/// S48: meanwhile one key was deleted and one password was changed, and the log is purged. Then another region is cut off: the one that is left brings the absent one up to
/// date alone, and the two are a majority again.
pub(crate) async fn s48_a_region_that_was_away_catches_up_from_one_other_alone(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { snapshot_every_s: Some(1), ..Options::default() }).await;
    let (anna, bert) = (sim.register(ANNA).await, sim.register(BERT).await);
    let leader = sim.leader().await;
    let (away, third) = ((leader + 1) % 3, (leader + 2) % 3);
    sim.hub.around(away, Rule::Cut);
    let had = sim.replica(away).applied();
    sim.client(ANNA).delete(&anna).await.unwrap();
    sim.client(BERT).register(NEW, RegisterOptions { key: Some(&bert), ..Default::default() }).await.unwrap();
    let purged = || (sim.replica(leader).purged() > had).then_some(());
    eventually("the log is purged", purged).await;

    sim.hub.heal();
    sim.hub.around(third, Rule::Cut);
    let caught_up = || {
        let phase = sim.replica(away).status().borrow().phase.clone();
        (phase == Phase::Verified && sim.replica(away).applied() >= sim.replica(leader).applied())
            .then_some(())
    };
    eventually("the region has caught up", caught_up).await;
    assert_eq!(sim.account(away, ANNA).unwrap().state(), State::Deleted);
    assert_eq!(sim.account(away, BERT), sim.account(leader, BERT));
    let got = sim.client(BERT).recover(NEW, RecoverOptions::default()).await;
    assert!(got.unwrap().key == bert);
    assert_ne!(NEW, RIGHT);

    sim.hub.heal();
    sim.settle().await;
    sim.down().await;
}

/// S48: a region is behind the log that is kept, the one that can bring it up to date has just restarted, and the third is away. A newer checkpoint would need entries that
/// both have, so the rows of the newest certified one must still be there.
pub(crate) async fn s48_a_region_that_has_restarted_brings_another_up_to_date_alone(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { snapshot_every_s: Some(1), ..Options::default() }).await;
    let (anna, bert) = (sim.register(ANNA).await, sim.register(BERT).await);
    let leader = sim.leader().await;
    let (away, third) = ((leader + 1) % 3, (leader + 2) % 3);
    sim.hub.around(away, Rule::Cut);
    let had = sim.replica(away).applied();
    sim.client(BERT).register(NEW, RegisterOptions { key: Some(&bert), ..Default::default() }).await.unwrap();
    let purged = || (sim.replica(leader).purged() > had).then_some(());
    eventually("the log is purged", purged).await;
    // Behind the certified checkpoint a key ends, and a password is changed back.
    sim.client(ANNA).delete(&anna).await.unwrap();
    sim.client(BERT)
        .register(RIGHT, RegisterOptions { key: Some(&bert), ..Default::default() })
        .await
        .unwrap();

    // A start needs the answers of both others. Then the third goes.
    let disk = sim.crash(leader);
    sim.hub.heal();
    sim.hub.set_rule(away, third, Rule::Cut);
    sim.hub.set_rule(third, away, Rule::Cut);
    sim.start_from(leader, disk).await;
    sim.verified(leader).await;
    sim.hub.around(third, Rule::Cut);
    let caught_up = || {
        let (here, there) = (sim.replica(leader), sim.replica(away));
        (there.applied() >= here.applied() && sim.account(away, ANNA)?.state() == State::Deleted)
            .then_some(())
    };
    eventually("the region has caught up", caught_up).await;
    assert_eq!(sim.replica(away).status().borrow().phase, Phase::Verified);
    assert_eq!(sim.account(away, BERT), sim.account(leader, BERT));
    assert!(sim.client(BERT).recover(RIGHT, RecoverOptions::default()).await.unwrap().key == bert);

    sim.hub.heal();
    sim.settle().await;
    sim.down().await;
}

/// S48: the log is purged while a snapshot is sent. If its entries behind the snapshot were purged, too, the region would need the next snapshot then, and so on for ever.
pub(crate) async fn s48_a_snapshot_that_takes_long_needs_no_second_one(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { snapshot_every_s: Some(1), ..Options::default() }).await;
    sim.register(ANNA).await;
    let sender = sim.leader().await;
    let (other, away) = ((sender + 1) % 3, (sender + 2) % 3);
    // Another leader would begin another snapshot.
    sim.replica(other).stand_for_election(false);
    // Stopped, not cut off, for the same reason.
    let had = sim.replica(away).applied();
    let image = sim.crash(away);
    sim.client(BERT).register(RIGHT, RegisterOptions::default()).await.unwrap();
    let purged = || [sender, other].iter().all(|i| sim.replica(*i).purged() > had).then_some(());
    eventually("the log is purged", purged).await;

    let exports = &sim.machines[sender].exports;
    exports.hold(true);
    sim.start_with(away, image, Fault::None).await;
    sim.replica(away).stand_for_election(false);
    eventually("a snapshot is being sent", || (exports.begun() > 0).then_some(())).await;
    let sent = sim.replica(sender).state().certified_index().unwrap();
    // Every region purges in the same periods. So the sender has had a period of its own once another has purged twice.
    for person in [CARLA, DORA] {
        let before = sim.replica(other).purged().max(sent);
        sim.client(person).register(RIGHT, RegisterOptions::default()).await.unwrap();
        let purged = || (sim.replica(other).purged() > before).then_some(());
        eventually("another region purges its log further", purged).await;
    }
    assert!(sim.replica(sender).purged() <= sent, "its receiver needs the log behind it");

    exports.hold(false);
    let installed = || (sim.replica(away).applied() >= sent).then_some(());
    eventually("the snapshot is installed", installed).await;
    let begun = exports.begun();
    sim.settle().await;
    assert_eq!(exports.begun(), begun, "the entries behind the snapshot come from the log");
    assert_eq!(sim.account(away, DORA), sim.account(sender, DORA));
    sim.down().await;
}

/// S55: a client that asks whether its success counts gets the answer from the first t regions. It does not wait for one that hangs, unless it asks for all.
pub(crate) async fn s55_a_region_that_hangs_delays_no_attestation(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    sim.register(ANNA).await;
    let leader = sim.leader().await;
    let hung = (leader + 1) % 3;
    sim.hub.around(hung, Rule::Hold);
    let transport = sim.transport(ANNA);
    let mut raw = RawClient::open(&sim, ANNA, &transport).await.unwrap();
    for (all, not_waited_for) in [(false, 0), (true, 1)] {
        let attest = Operation::Attest(p::Attest { nonce: vec![5; 32].into(), all });
        let Answer::Attestations(answers) = raw.ask(attest).await.unwrap() else { panic!("no attestations") };
        assert_eq!((answers.regions.len(), answers.missing.len()), (2, not_waited_for), "all: {all}");
    }
    let recovered = sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await.unwrap();
    assert!(recovered.uncounted.is_none());

    sim.hub.heal();
    sim.settle().await;
    sim.down().await;
}
