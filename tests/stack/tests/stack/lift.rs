//! The root ends a quarantine over the vault's administration port, as the runbook of `BkvReplicaQuarantined` says.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bkv_admin_api::paths::{LIFT, STATUS};
use bkv_stack_tests::admin::{ask, call};
use bkv_stack_tests::{Fleet, RIGHT, bkv, wait};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The only shard, as the vault's status shows it. Null while the vault does not answer.
fn shard(fleet: &Fleet, region: &str) -> Value {
    let asked = ask(&fleet.dir().join("admin"), region, fleet.port(region, "admin"), STATUS, None);
    let status: Value = asked.map_or(Value::Null, |(_, json)| serde_json::from_slice(&json).unwrap());
    status["shards"][0].clone()
}

fn quarantined(fleet: &Fleet, region: &str) -> String {
    let mut id = String::new();
    wait("a quarantine", SOON, || {
        let shard = shard(fleet, region);
        let why = shard["waits_for"].as_str().unwrap_or_default();
        id = why.rsplit_once("(stop ").map(|(_, id)| id.trim_end_matches(')').to_owned()).unwrap_or_default();
        shard["phase"] == "quarantined"
    });
    id
}

/// Signs with this key, and returns the file's content.
fn signed(fleet: &Fleet, node: u64, shard: u16, stop: &str, root: &str) -> Vec<u8> {
    let to = path(&fleet.path("lift"));
    let (node, shard) = (node.to_string(), shard.to_string());
    let (key, file) = (format!("{root}.key"), format!("{root}.bin"));
    bkv([
        "ceremony", "lift", "--node", &node, "--shard", &shard, "--stop", stop, "--key", &key, "--root",
        &file, "-o", &to, "--yes",
    ])
    .expect(0);
    let signed = fs::read(&to).unwrap();
    fs::remove_file(&to).unwrap();
    signed
}

/// S24: nothing but the root's lift of exactly this stop lets a vault serve from a disk that was set back. The next restored disk is a new quarantine.
#[test]
fn s24_the_root_lifts_one_quarantine_over_the_administration_port() {
    let fleet = Fleet::with(&["--shards", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let leads = |r: &String| shard(&fleet, r)["leads"] == true;
    let others: Vec<_> = fleet.regions().into_iter().filter(|r| !leads(r)).collect();
    let region = others[0].clone();
    let store = fleet.dir().join(format!("regions/{region}/data/vault.redb"));
    let copy = fleet.path("older");
    let node = call(&fleet, &region, STATUS, None).1["node"].as_u64().unwrap();
    let set_back = || {
        fleet.region("kill", &region);
        fs::copy(&copy, &store).unwrap();
        fleet.region("start", &region);
        quarantined(&fleet, &region)
    };
    fleet.region("stop", &region);
    fs::copy(&store, &copy).unwrap();
    fleet.start(&region);
    alice.recover("device", RIGHT).expect(0);
    let stop = set_back();

    let ours = path(&fleet.dir().join("root"));
    let send = |document: Vec<u8>| call(&fleet, &region, LIFT, Some(document));
    let other_stop = "07".repeat(16);
    let others = [(node, 0, &other_stop), (node, 1, &stop), (node ^ 1, 0, &stop)];
    for document in others.map(|(node, shard, stop)| signed(&fleet, node, shard, stop, &ours)) {
        let (status, answer) = send(document);
        assert_eq!(status, 409, "{answer}");
        assert!(answer["remedy"].as_str().unwrap().contains("bkv ceremony lift"), "{answer}");
    }
    let good = signed(&fleet, node, 0, &stop, &ours);
    let (last, rest) = good.split_last().unwrap();
    for document in [Vec::new(), [rest, &[last ^ 1]].concat()] {
        let (status, answer) = send(document);
        assert_eq!(status, 422, "{answer}");
    }
    assert_eq!(shard(&fleet, &region)["phase"], "quarantined");

    let (status, answer) = send(good.clone());
    assert_eq!((status, &answer["lifted"]), (200, &Value::Bool(true)), "{answer}");
    // The leader takes no answers from a vault that denies what it has acknowledged to it. It is shown the lift, and the next leader brings that vault up to date.
    wait("the lifted vault follows", SOON, || shard(&fleet, &region)["phase"] == "verified");
    fleet.wait_ready(3);
    alice.recover("another device", RIGHT).expect(0);
    // A captured lift lifts nothing a second time.
    assert_eq!(send(good.clone()).0, 409);
    let next = set_back();
    assert_ne!(next, stop);
    assert_eq!(send(good).0, 409, "the lift names the stop before");
    assert_eq!(alice.tries_left(), 10);
}
