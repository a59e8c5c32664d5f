//! A region that has never got its own share of a registration: its snapshot came from a vault that did not have it.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use bkv_client::RecoverOptions;
use bkv_core::record::SealedShare;
use bkv_simulation::network::Rule;
use bkv_simulation::{Options, RIGHT, Simulation, soon};
use bkv_vault::peer::Body;
use bkv_wire::proto::peer as p;

const ANNA: &str = "anna";

fn slot(i: usize) -> u8 {
    u8::try_from(i + 1).unwrap()
}

/// S48, P19: the region asks the others for its sealed share, and then evaluates. Without it two of three regions would be too few. A region that asks gets its own share and
/// no other one.
pub(crate) async fn s48_a_region_without_its_share_asks_the_others_for_it(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let leader = sim.leader().await;
    let (other, third) = ((leader + 1) % 3, (leader + 2) % 3);
    sim.machines[other].secrets.no_share.store(slot(other), Ordering::SeqCst);
    let key = sim.register(ANNA).await;
    let reg_id = sim.account(leader, ANNA).unwrap().live.unwrap().record.reg_id;
    let ask =
        p::ShareAsk { shard: 0, account: sim.id(ANNA).0.to_vec().into(), reg_id: reg_id.0.to_vec().into() };
    let (asks, to) = (sim.vault(third), sim.vault(leader).node().node());
    let answer = asks.node().peers().call(to, Body::ShareAsk(ask), soon()).await;
    let Ok(Body::ShareAnswer(answer)) = answer else { panic!("{answer:?}") };
    assert_eq!(minicbor::decode::<SealedShare>(&answer.share).unwrap().slot.0, slot(third));

    sim.hub.around(third, Rule::Cut);
    let recovered = sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await;
    assert!(recovered.as_ref().is_ok_and(|r| r.key == key), "{recovered:?}");
    sim.down().await;
}
