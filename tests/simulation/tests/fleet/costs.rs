//! What a recovery costs the fleet's tokens. Cloud tokens have quotas, and docs/hsm.md says how many recoveries a quota allows.

use std::path::PathBuf;

use bkv_client::RecoverOptions;
use bkv_hsm::{Op, Outcome};
use bkv_simulation::{Options, RIGHT, Simulation};

const ANNA: &str = "anna";
const RECOVERIES: u64 = 10;

/// The operations of all tokens that a quota counts: signatures, and HMACs of both kinds.
fn spent(sim: &Simulation) -> (u64, u64) {
    let of = |op: Op| {
        let counts = (0..3).flat_map(|i| sim.vault(i).token().counters());
        counts.filter(|c| c.op == op && c.outcome == Outcome::Ok).map(|c| c.count).sum::<u64>()
    };
    (of(Op::SignIdentity), of(Op::MaskPad) + of(Op::EpochMac))
}

pub(crate) async fn a_recovery_costs_the_tokens_one_signature_and_two_hmacs(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    sim.settle().await;
    let before = spent(&sim);
    for _ in 0..RECOVERIES {
        let got = sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await.unwrap();
        assert!(got.key == key);
    }
    sim.settle().await;
    let after = spent(&sim);
    let (signatures, hmacs) = (after.0 - before.0, after.1 - before.1);
    println!("{RECOVERIES} recoveries: {signatures} signatures, {hmacs} HMACs");
    assert!(signatures <= RECOVERIES && hmacs <= 2 * RECOVERIES, "{signatures} signatures, {hmacs} HMACs");
    assert!(signatures + hmacs > 0, "the recoveries use the tokens");
    sim.down().await;
}
