//! Many resources on one API server: the time of the first pass over all, and the operator's cost when nothing happens. `make bench-operator` runs it
//! and writes the figures to `target/bench/operator.json`. `BKV_SCALE` is the number of resources (500), and `BKV_SCALE_REGIONS` the regions of each
//! (3). No fleet gets past its first vault, because there are no nodes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]
#![allow(clippy::cast_precision_loss)] // counts and kilobytes

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bkv_cluster_tests::definitions::define;
use bkv_cluster_tests::{Account, ApiServer, Operator, Request, binary, requests};
use futures_util::{StreamExt as _, stream};
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use bkv_operator::resource::BackupKeyVault;

/// A fleet that waits for its vaults becomes `Stalled` after ten minutes. After that nothing changes any more.
const UNTIL_REST: Duration = Duration::from_mins(25);
/// The operator's passes are more frequent for two minutes after a change.
const LIVELY: Duration = Duration::from_secs(140);
const AT_REST: Duration = Duration::from_mins(1);
/// Memory of an operator with this many resources.
const GOAL_MEMORY: f64 = 30.0;

struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    at_most: Option<f64>,
}

/// A number from the environment.
fn from_environment(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().map_or(otherwise, |n| n.parse().expect("a number"))
}

fn resource(number: usize, regions: usize) -> BackupKeyVault {
    let regions: Vec<Value> = (0..regions).map(|r| json!({ "name": format!("region-{r}") })).collect();
    serde_json::from_value(json!({
        "apiVersion": "bkv.dev/v1alpha1", "kind": "BackupKeyVault",
        "metadata": { "name": format!("fleet-{number}"), "namespace": "scale" },
        "spec": {
            "regions": regions,
            "hsm": { "softhsm": {} },
            "clientAuth": { "issuer": "https://login.example", "jwks": { "url": "https://login.example/jwks.json" } },
        },
    }))
    .unwrap()
}

/// The operator has made its objects and waits for its first vault.
fn looked_at(resource: &BackupKeyVault) -> bool {
    let waits = resource.status.as_ref().map(|s| s.waits.as_slice()).unwrap_or_default();
    waits.iter().any(|w| w.check == "VaultStarting")
}

/// Its condition Stalled is True, after which the operator writes nothing more.
fn at_rest(resource: &BackupKeyVault) -> bool {
    let conditions = resource.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == "Stalled" && c.status == "True")
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make bench-operator"]
async fn many_resources() {
    let (many, regions) = (from_environment("BKV_SCALE", 500), from_environment("BKV_SCALE_REGIONS", 3));
    let server = tokio::task::spawn_blocking(ApiServer::start).await.unwrap();
    define(&server, &serde_json::to_value(bkv_operator::resource::crd()).unwrap()).await;
    let account = Account::make(&server, "scale").await;
    let vaults: Api<BackupKeyVault> = Api::namespaced(server.client().await, "scale");
    stream::iter(0..many)
        .for_each_concurrent(8, async |number| {
            vaults.create(&PostParams::default(), &resource(number, regions)).await.unwrap();
        })
        .await;

    let since = Instant::now();
    let operator = Operator::start(&account, "bench", &[]);
    let mut done = 0;
    while done < many {
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(since.elapsed() < Duration::from_mins(20), "{done} of {many}: {}", operator.log_text());
        let all = vaults.list(&ListParams::default()).await.unwrap();
        done = all.items.iter().filter(|v| looked_at(v)).count();
        println!(
            "{:>4.0} s: {done} of {many}, {:.1} MiB",
            since.elapsed().as_secs_f64(),
            megabytes(operator.memory("VmRSS"))
        );
    }
    let first_pass = since.elapsed().as_secs_f64();
    let for_first_pass = requests(&server, &account.user).len();

    loop {
        let all = vaults.list(&ListParams::default()).await.unwrap();
        let moving = all.items.iter().filter(|v| !at_rest(v)).count();
        if moving == 0 {
            break;
        }
        assert!(since.elapsed() < UNTIL_REST, "{moving} of {many} are not at rest: {}", operator.log_text());
        println!("{:>4.0} s: {moving} of {many} are not at rest yet", since.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    tokio::time::sleep(LIVELY).await;
    let before = requests(&server, &account.user).len();
    let time = Instant::now();
    tokio::time::sleep(AT_REST).await;
    let all = requests(&server, &account.user);
    let seconds = time.elapsed().as_secs_f64();
    let asked: Vec<&Request> = all[before..].iter().filter(|r| r.resource != "leases").collect();
    let mut by_kind: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for request in &asked {
        *by_kind.entry((&request.verb, &request.resource)).or_default() += 1;
    }
    println!("at rest: {by_kind:#?}");
    let written: Vec<_> = asked.iter().filter(|r| r.writes()).collect();
    let rows = [
        Row { name: "operator.resources", value: many as f64, unit: "", at_most: None },
        Row { name: "operator.regions", value: regions as f64, unit: "each", at_most: None },
        Row { name: "operator.first_pass", value: first_pass, unit: "s", at_most: None },
        Row {
            name: "operator.requests.first_pass",
            value: for_first_pass as f64 / many as f64,
            unit: "per resource",
            at_most: None,
        },
        Row {
            name: "operator.requests.at_rest",
            value: asked.len() as f64 / seconds,
            unit: "1/s",
            at_most: None,
        },
        Row { name: "operator.writes.at_rest", value: written.len() as f64, unit: "", at_most: Some(0.0) },
        Row {
            name: "operator.memory.at_rest",
            value: megabytes(operator.memory("VmRSS")),
            unit: "MiB",
            at_most: Some(GOAL_MEMORY),
        },
        Row {
            name: "operator.memory.peak",
            value: megabytes(operator.memory("VmHWM")),
            unit: "MiB",
            at_most: Some(GOAL_MEMORY),
        },
    ];
    report(&rows);
    assert!(written.is_empty(), "{written:?}");
}

/// As `target/bench/results.json`: `[{name, value, unit, goal, holds}]`.
fn report(rows: &[Row]) {
    // A debug build is slower and larger: its figures are for comparison only.
    let release = binary("bkv-operator").components().any(|c| c.as_os_str() == "release");
    if !release {
        println!("a debug build of the operator: set BKV_BIN_DIR to the folder of a release");
    }
    let json: Vec<Value> = rows
        .iter()
        .map(|r| {
            let holds = r.at_most.map(|most| r.value <= most);
            println!("{:<32} {:>10.1} {:<14} {}", r.name, r.value, r.unit, match holds { Some(true) => "yes", Some(false) => "NO", None => "" });
            json!({ "name": r.name, "value": r.value, "unit": r.unit, "goal": r.at_most.map(|m| format!("<= {m}")), "holds": holds })
        })
        .chain([json!({ "name": "operator.release", "value": f64::from(u8::from(release)), "unit": "", "goal": null, "holds": null })])
        .collect();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bench/operator.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, serde_json::to_string_pretty(&json).unwrap()).unwrap();
    println!("{}", path.display());
}
