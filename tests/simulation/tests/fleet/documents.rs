//! Newer documents reach a vault that nobody has given them to.

use std::path::PathBuf;

use bkv_core::document::{Admission, JwksSource, Policy};
use bkv_core::id::Time;
use bkv_fixtures::SoftwareIdentity;
use bkv_simulation::network::Rule;
use bkv_simulation::{Options, Simulation, documents, eventually, soon};
use bkv_vault::peer::Body;
use bkv_wire::documents::{Kind, add_signature, unsigned, write_admission, write_policy};
use bkv_wire::proto::peer as p;
use tokio_util::sync::CancellationToken;

/// The next list, in which a vault's identity is replaced.
fn replacing(list: &Admission, stolen: usize) -> Vec<u8> {
    let mut next = Admission { number: list.number + 1, not_before: Time(0), ..list.clone() };
    next.members[stolen].identity = SoftwareIdentity::generate().spki;
    let body = unsigned(Kind::Admission, write_admission(&next).unwrap());
    add_signature(Kind::Admission, &body, &documents::root().1).unwrap()
}

async fn install(sim: &Simulation, i: usize, list: Vec<u8>) {
    let vault = sim.vault(i);
    let install =
        async move { vault.install(Kind::Admission, list, &CancellationToken::new()).await.unwrap() };
    sim.handle(i).spawn(install).await.unwrap();
}

fn number(sim: &Simulation, i: usize) -> u64 {
    sim.vault(i).documents().unwrap().documents.admission.number
}

async fn admits(sim: &Simulation, i: usize, caller: usize) -> bool {
    let (to, caller) = (sim.vault(i).node().node(), sim.vault(caller));
    caller.node().peers().call(to, Body::Clock(p::Clock::default()), soon()).await.is_ok()
}

/// S26: the administrator gives the new list to one vault. The others obey it because their shards have applied it, and refuse the stolen identity.
pub(crate) async fn s26_a_vault_obeys_the_list_that_it_has_applied(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let leader = sim.leader().await;
    let (follower, stolen) = ((leader + 1) % 3, (leader + 2) % 3);
    assert!(admits(&sim, follower, stolen).await);
    let list = sim.vault(leader).documents().unwrap().documents.admission.clone();
    install(&sim, leader, replacing(&list, stolen)).await;
    eventually("the follower obeys", || (number(&sim, follower) == 2).then_some(())).await;
    assert!(!admits(&sim, follower, stolen).await);
    // Also after a restart.
    sim.restart(follower).await;
    assert_eq!(number(&sim, follower), 2);
    sim.down().await;
}

/// S26: the new documents name an issuer that takes connections and answers nothing. The stolen identity is refused before the vault gives up on the issuer's keys.
pub(crate) async fn s26_a_hanging_issuer_does_not_delay_an_eviction(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let leader = sim.leader().await;
    let (follower, stolen) = ((leader + 1) % 3, (leader + 2) % 3);
    let issuer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let d = sim.vault(follower).documents().unwrap().documents.clone();
    let url = format!("https://{}/jwks.json", issuer.local_addr().unwrap());
    let rules = Policy { number: d.policy.number + 1, jwks: JwksSource::Url(url), ..d.policy.clone() };
    let rules = unsigned(Kind::Policy, write_policy(&rules).unwrap());
    let rules = add_signature(Kind::Policy, &rules, &documents::root().1).unwrap();
    let (vault, list) = (sim.vault(follower), replacing(&d.admission, stolen));
    let obeying = sim
        .handle(follower)
        .spawn(async move { vault.obey_sent(&list, &rules, &CancellationToken::new()).await });
    let (_held, _) = issuer.accept().await.unwrap();
    assert!(!admits(&sim, follower, stolen).await);
    assert!(!obeying.is_finished(), "the fetch has not ended");
    assert_eq!(number(&sim, follower), 1);
    obeying.await.unwrap().unwrap();
    assert_eq!(number(&sim, follower), 2);
    sim.down().await;
}

/// S26: a vault that the log does not reach takes the newer list from the vault that shows it a higher number.
pub(crate) async fn s26_a_vault_takes_the_newer_list_of_another_vault(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let leader = sim.leader().await;
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let list = sim.vault(leader).documents().unwrap().documents.admission.clone();
    // The leader is cut off from both, so no shard applies the list.
    sim.hub.around(leader, Rule::Hold);
    install(&sim, one, replacing(&list, leader)).await;
    eventually("the other vault obeys", || (number(&sim, other) == 2).then_some(())).await;
    assert_eq!(number(&sim, leader), 1);
    sim.down().await;
}
