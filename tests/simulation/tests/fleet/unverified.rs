//! A replica speaks for its state only once it has shown that its disk is not an old one.

use std::path::PathBuf;
use std::time::Duration;

use bkv_client::RecoverOptions;
use bkv_core::id::AttemptId;
use bkv_simulation::peer_calls::PeerCalls;
use bkv_simulation::{Options, RIGHT, Simulation, eventually, raw_client, soon};
use bkv_vault::peer::{Body, PeerError};
use bkv_vault::replica::Phase;

const ANNA: &str = "anna";

/// S08, S20, S24: a quarantined region is asked by another vault. Its old disk knows fewer attempts and an older ledger, and its floors are old as well: what
/// it signs would count as one of t, and its evaluation would be a further guess.
pub(crate) async fn s24_a_quarantined_region_neither_evaluates_nor_attests_nor_acknowledges(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { images: true, ..Options::default() }).await;
    sim.register(ANNA).await;
    let attempt = AttemptId([1; 16]);
    sim.insist(ANNA, &raw_client::begin(attempt, raw_client::blinded("a guess"))).await;
    sim.settle().await;
    let old = (sim.leader().await + 1) % 3;
    let account = sim.account(old, ANNA).unwrap();
    let reg_id = account.live.as_ref().unwrap().record.reg_id;
    let image = sim.crash(old);
    sim.start_from(old, image.clone()).await;
    sim.settle().await;
    let calls = || {
        let of = PeerCalls::about(&sim, ANNA, &sim.token(ANNA));
        [of.attest(), of.acknowledge(reg_id), of.evaluate(attempt)]
    };
    let answered = |body: &Body| match body {
        Body::Attested(a) => !a.attestation.is_empty(),
        Body::Acknowledged(a) => !a.acknowledgement.is_empty(),
        Body::Evaluated(e) => !e.evaluation.is_empty(),
        _ => false,
    };
    let ask = async |i: usize| {
        let asks = sim.vault((i + 1) % 3);
        let to = sim.vault(i).node().node();
        let mut answers = Vec::new();
        for call in calls() {
            // Its link comes back a moment after its restart.
            let until = soon();
            let answer = loop {
                match asks.node().peers().call(to, call.clone(), until).await {
                    Err(PeerError::Unreachable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                    answer => break answer,
                }
            };
            answers.push(answer.is_ok_and(|b| answered(&b)));
        }
        answers
    };
    // The control: a verified region answers all three.
    assert_eq!(ask(old).await, [true; 3]);

    sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await.unwrap();
    sim.settle().await;
    sim.crash(old);
    sim.start_from(old, image).await;
    let quarantined = || {
        let phase = sim.replica(old).status().borrow().phase.clone();
        matches!(phase, Phase::Quarantined(_)).then_some(())
    };
    eventually("the old disk is quarantined", quarantined).await;
    assert_eq!(ask(old).await, [false; 3]);
    sim.down().await;
}
