//! S11: every leader answers the same attempt with the same bytes, and refuses another element under its id. S13: no attempt reaches a share whose
//! registration is gone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bkv_core::document::Policy;
use bkv_core::id::AttemptId;
use bkv_simulation::{Options, Simulation, audit, raw_client};
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;

const ANNA: &str = "anna";

fn begun(answer: Answer) -> p::Begun {
    match answer {
        Answer::Begun(b) => b,
        other => panic!("{other:?}"),
    }
}

/// The leader is killed after it has answered. The next leader answers the same and charges nothing.
pub(crate) async fn s11_the_same_attempt_gets_the_same_bytes_from_a_new_leader(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    sim.register(ANNA).await;
    let (attempt, guess) = (AttemptId([1; 16]), raw_client::blinded("a guess"));
    let begin = raw_client::begin(attempt, guess);
    let more = Operation::MoreEvaluations(p::MoreEvaluations { attempt: attempt.0.to_vec().into() });
    // By slot: β and proof. The certificate names a boot key, so it may differ after a restart.
    let mut known: BTreeMap<u32, (bytes::Bytes, bytes::Bytes)> = BTreeMap::new();
    let mut see = |b: p::Begun| {
        for e in b.evaluations {
            let said = (e.beta.clone(), e.proof.clone());
            assert_eq!(known.entry(e.slot).or_insert_with(|| said.clone()), &said, "slot {}", e.slot);
        }
        known.len()
    };
    let first = begun(sim.insist(ANNA, &begin).await);
    let ordinal = first.ordinal;
    see(first);
    assert_eq!(see(begun(sim.insist(ANNA, &more).await)), 3, "all regions have evaluated");
    for _ in 0..2 {
        let leader = sim.leader().await;
        let image = sim.crash(leader);
        let again = begun(sim.insist(ANNA, &begin).await);
        assert_eq!(again.ordinal, ordinal, "charged again");
        assert_ne!(sim.leader().await, leader);
        see(again);
        // Another element under the same id would be a second guess for one try.
        let other = sim.insist(ANNA, &raw_client::begin(attempt, raw_client::blinded("another"))).await;
        assert!(matches!(&other, Answer::Refused(r) if r.code() == Code::Conflict), "{other:?}");
        sim.start_from(leader, image).await;
        sim.settle().await;
        see(begun(sim.insist(ANNA, &more).await));
    }
    audit::audit_budget(&sim.witness.evaluations(), 10);
    let account = sim.account(0, ANNA).unwrap();
    assert_eq!((account.ordinal.0, account.tries_left()), (1, 9));
    sim.down().await;
}

/// An attempt id that was open when the password changed is used again. No region may evaluate it with the old share.
pub(crate) async fn s13_an_attempt_id_used_again_does_not_reach_the_old_share(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let (attempt, guess) = (AttemptId([1; 16]), raw_client::blinded("a guess"));
    let more = Operation::MoreEvaluations(p::MoreEvaluations { attempt: attempt.0.to_vec().into() });
    let mut answers = Vec::new();
    for generation in 1..=2 {
        begun(sim.insist(ANNA, &raw_client::begin(attempt, guess)).await);
        let all = begun(sim.insist(ANNA, &more).await);
        assert_eq!((all.generation, all.evaluations.len()), (generation, 3));
        answers.push(all.evaluations.into_iter().map(|e| (e.slot, e.beta)).collect::<BTreeMap<_, _>>());
        let options = bkv_client::RegisterOptions { key: Some(&key), ..Default::default() };
        sim.client(ANNA).register("a quite other password", options).await.unwrap();
        sim.settle().await;
    }
    for (slot, beta) in &answers[0] {
        assert_ne!(answers[1][slot], *beta, "slot {slot} evaluated with the share of the generation before");
    }
    sim.down().await;
}

/// S09: a thief of the file that a device keeps of its last try knows the try's id and not its B. With evaluations of B the thief could test passwords offline,
/// past the eight conflicts that are counted.
pub(crate) async fn s09_evaluations_of_a_last_try_need_its_begin(dir: PathBuf) {
    let one = |p: &mut Policy| p.attempts.max = 1;
    let sim = Simulation::up(dir, Options { policy: Some(one), ..Options::default() }).await;
    sim.register(ANNA).await;
    let (attempt, guess) = (AttemptId([1; 16]), raw_client::blinded("a guess"));
    begun(sim.insist(ANNA, &raw_client::begin(attempt, guess)).await);
    let more = Operation::MoreEvaluations(p::MoreEvaluations { attempt: attempt.0.to_vec().into() });
    match sim.insist(ANNA, &more).await {
        Answer::Refused(r) => assert_eq!(r.code(), Code::NoAttempt),
        other => panic!("{other:?}"),
    }
    sim.down().await;
}
