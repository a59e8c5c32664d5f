//! A region that was away for longer than the log is kept.

use std::path::PathBuf;

use bkv_client::{RecoverOptions, RegisterOptions};
use bkv_core::account::State;
use bkv_simulation::network::Rule;
use bkv_simulation::{Options, RIGHT, Simulation, eventually};
use bkv_vault::replica::Phase;

const ANNA: &str = "anna";
const BERT: &str = "bert";
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
