//! A region whose z is not the record's: an attacker planted it there.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use bkv_client::{RecoverOptions, RegisterOptions};
use bkv_simulation::{Options, RIGHT, Simulation, documents};

const ANNA: &str = "anna";

/// S43: that region acknowledges no registration. While it leads, the right password does not look wrong: another region takes over and the same attempt
/// goes on.
pub(crate) async fn s43_a_z_that_does_not_fit_is_no_wrong_password(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let other = (sim.leader().await + 1) % 3;
    sim.machines[other].secrets.false_z.store(true, Ordering::SeqCst);
    let registered = sim.client(ANNA).register(RIGHT, RegisterOptions::default()).await.unwrap();
    assert_eq!(registered.not_acknowledged, [documents::region(other)]);
    sim.settle().await;
    sim.lead(other).await;
    let recovered = sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await;
    assert!(recovered.as_ref().is_ok_and(|r| r.key == registered.key), "{recovered:?}");
    sim.settle().await;
    for i in 0..3 {
        assert_eq!(sim.account(i, ANNA).unwrap().tries_left(), 10);
    }
    sim.down().await;
}
