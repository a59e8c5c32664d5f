//! S47: the number of shards never changes, whatever the root signs.

use std::path::PathBuf;

use bkv_simulation::{Options, RIGHT, Simulation, documents};
use bkv_wire::documents::Kind;
use tokio_util::sync::CancellationToken;

/// With another number a vault would send people to shards where they have no key. They would register anew, with a fresh budget.
pub(crate) async fn s47_a_policy_with_another_number_of_shards_is_refused(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register("anna").await;
    let (root, root_key) = documents::root();
    let mut policy = documents::policy(&root, 2, sim.issuer.jwks());
    policy.number = 2;
    let members = sim.vault(0).documents().unwrap().documents.admission.members.clone();
    let signed = documents::sign(&root_key, &documents::admission(&root, members), &policy);
    for i in 0..3 {
        let (vault, policy) = (sim.vault(i), signed.policy.clone());
        let install = async move { vault.install(Kind::Policy, policy, &CancellationToken::new()).await };
        let refused = sim.handle(i).spawn(install).await.unwrap().unwrap_err().to_string();
        assert!(refused.contains("`shards`") && refused.contains("2 shards, vault.toml has 1"), "{refused}");
        sim.restart(i).await;
        sim.settle().await;
        assert_eq!(sim.vault(i).documents().unwrap().documents.policy.number, 1);
    }
    let back = sim.client("anna").recover(RIGHT, bkv_client::RecoverOptions::default()).await.unwrap();
    assert!(back.key == key, "anna's key is where it was");
    sim.down().await;
}
