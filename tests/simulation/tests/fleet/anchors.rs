//! A region is away, and others start again: with an anchor, without one, and from an older disk.

use std::path::PathBuf;

use bkv_client::RecoverOptions;
use bkv_simulation::{Options, RIGHT, Simulation, eventually};
use bkv_vault::replica::Phase;

const ANNA: &str = "anna";

/// S51: first one of the two that are left starts again, then both.
pub(crate) async fn s51_regions_that_stop_in_order_serve_while_another_is_away(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let recovers =
        async || sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await.unwrap().key == key;
    let away = sim.leader().await;
    let left = [(away + 1) % 3, (away + 2) % 3];
    let away_image = sim.crash(away);
    for i in left {
        let image = sim.stop(i).await;
        sim.start_from(i, image).await;
        sim.verified(i).await;
        assert!(recovers().await);
    }
    let images = [sim.stop(left[0]).await, sim.stop(left[1]).await];
    for (i, image) in left.into_iter().zip(images) {
        sim.start_from(i, image).await;
    }
    assert!(recovers().await);

    sim.start_from(away, away_image).await;
    sim.settle().await;
    sim.down().await;
}

/// S24, S51: an anchor is gone once its vault has started, the next one fits the newest disk only, and a vault that still waits leaves none. A vault whose disk no anchor fits waits for the region that is
/// away.
pub(crate) async fn s24_an_anchor_vouches_for_no_older_copy(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    sim.register(ANNA).await;
    let old = (sim.leader().await + 1) % 3;
    let waits = async || {
        eventually("the vault waits for the region that is away", || {
            let phase = sim.replica(old).status().borrow().phase.clone();
            matches!(phase, Phase::Joining { missing } if !missing.is_empty()).then_some(())
        })
        .await;
    };
    let image = sim.stop(old).await;
    sim.start_from(old, image.clone()).await;
    sim.verified(old).await;
    sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await.unwrap();
    sim.settle().await;

    let away = sim.leader().await;
    let away = if away == old { (old + 1) % 3 } else { away };
    // A vault that crashed left no anchor.
    let newest = sim.crash(old);
    let away_image = sim.crash(away);
    sim.start_from(old, newest.clone()).await;
    waits().await;
    // The older disk once had one.
    sim.crash(old);
    sim.start_from(old, image.clone()).await;
    waits().await;
    // An orderly stop does not prove what was not proven.
    let unproven = sim.stop(old).await;
    sim.start_from(old, unproven).await;
    waits().await;
    // The anchor of a later stop does not fit it.
    sim.crash(old);
    sim.start_from(away, away_image).await;
    sim.start_from(old, newest).await;
    sim.settle().await;
    sim.stop(old).await;
    sim.crash(away);
    sim.start_from(old, image).await;
    waits().await;
    sim.down().await;
}
