//! S50: one holder of valid tokens can neither cut the links between vaults nor take service from others.

use std::path::PathBuf;
use std::time::Duration;

use bkv_client::RecoverOptions;
use bkv_simulation::disk::Fault;
use bkv_simulation::raw_client::RawClient;
use bkv_simulation::{Options, RIGHT, Simulation};
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use futures_util::future::join_all;

const ANNA: &str = "anna";
const MALLORY: &str = "mallory";

/// Seventy requests of 250 KiB at once are more than a frame between vaults may have, if they become one entry. The disks are slow, so that proposals gather.
pub(crate) async fn s50_junk_of_one_token_holder_cuts_no_link(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let transport = sim.transport(MALLORY);
    let mut streams = Vec::new();
    for _ in 0..70 {
        streams.push(RawClient::open(&sim, MALLORY, &transport).await.unwrap());
    }
    for i in 0..3 {
        sim.disk(i).set(Fault::Slow(Duration::from_millis(100)));
    }
    let (leader, connections) = (sim.leader().await, sim.hub.connections());
    let junk =
        p::Acknowledgement { slot: 1, certificate: vec![7; 250 << 10].into(), signature: vec![7; 64].into() };
    let confirm = Operation::Confirm(p::Confirm {
        reg_id: vec![1; 16].into(),
        record: vec![2; 32].into(),
        acknowledgements: vec![junk],
        signature: vec![3; 64].into(),
        subject: vec![4; 32].into(),
    });
    let flood = join_all(streams.iter_mut().map(|raw| raw.ask(confirm.clone())));
    let client = sim.client(ANNA);
    let (answers, got) = tokio::join!(flood, client.recover(RIGHT, RecoverOptions::default()));
    assert!(got.unwrap().key == key);
    assert_eq!(sim.hub.connections(), connections, "a link between vaults was cut");
    assert_eq!(sim.leader().await, leader, "another vault had to lead");
    for answer in answers {
        match answer.unwrap() {
            Answer::Refused(r) => {
                assert_eq!(r.code(), Code::Malformed, "{r:?}");
                assert!(r.detail.contains("confirm") && r.detail.contains("are allowed"), "{r:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    sim.down().await;
}

/// The right password typed on eight devices at once: the attempts take turns, and none takes another's place.
pub(crate) async fn s50_eight_right_passwords_at_once_cost_no_try(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let devices: Vec<_> = (0..8).map(|_| sim.client(ANNA)).collect();
    let all = join_all(devices.iter().map(|c| c.recover(RIGHT, RecoverOptions::default()))).await;
    for got in all {
        assert!(got.unwrap().key == key);
    }
    sim.settle().await;
    for i in 0..3 {
        let account = sim.account(i, ANNA).unwrap();
        assert_eq!((account.ordinal.0, account.lifetime_failures, account.tries_left()), (8, 0, 10));
    }
    sim.down().await;
}
