//! Scenarios of a fleet on real pods, one file each. All run in order on one cluster, and a loop of recoveries runs during those
//! that break the fleet `demo`. After each of them every account must have all its tries left.
//!
//! `BKV_SCENARIOS=rest,drains` runs only those (`install` always runs), `BKV_CLUSTER_DIR` uses a cluster of `bin/cluster` that is up: for work on one
//! scenario. `BKV_KUBECONFIG` names the kubeconfig of any other cluster, such as kind's.
#![allow(clippy::case_sensitive_file_extension_comparisons, clippy::single_match_else)] // keys of Secrets are no file names
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]

mod bad;
mod ceremony;
mod drains;
mod hardened;
mod install;
mod killed_operator;
mod leader_paused;
mod lost;
mod postgres_gone;
mod region_down;
mod resource;
mod rest;
mod rotation;
mod scraped;
mod secrets;
mod stage;
mod status_wiped;

use std::time::Instant;

use stage::Stage;

/// A scenario's name and body. The body returns a summary.
type Scenario = (&'static str, fn(&mut Stage) -> String);

/// All scenarios, in the order in which they run. The table shows the summary that each returns.
const ALL: [Scenario; 14] = [
    ("hardened", hardened::tell),
    ("rest", rest::tell),
    ("scraped", scraped::tell),
    ("status_wiped", status_wiped::tell),
    ("leader_paused", leader_paused::tell),
    ("drains", drains::tell),
    ("region_down", region_down::tell),
    ("postgres_gone", postgres_gone::tell),
    ("rotation", rotation::tell),
    ("bad", bad::tell),
    ("ceremony", ceremony::tell),
    ("killed_operator", killed_operator::tell),
    ("lost", lost::tell),
    ("secrets", secrets::tell),
];

/// Scenarios that cut a node's power or stop a program in it.
const NEED_OUR_NODES: [&str; 2] = ["leader_paused", "region_down"];

#[test]
fn scenarios() {
    let wanted = std::env::var("BKV_SCENARIOS").ok();
    let wanted: Option<Vec<&str>> = wanted.as_deref().map(|w| w.split(',').collect());
    for word in wanted.iter().flatten() {
        assert!(ALL.iter().any(|(name, _)| name == word), "no scenario is called {word}");
    }
    let begun = Instant::now();
    let (mut stage, installed) = install::tell();
    let mut table = vec![("install", begun.elapsed(), installed)];
    for (name, tell) in ALL {
        if wanted.as_ref().is_some_and(|w| !w.contains(&name)) {
            println!("{name}: skipped, BKV_SCENARIOS names others");
            continue;
        }
        if NEED_OUR_NODES.contains(&name) && !stage.cluster.breakable() {
            println!("{name}: skipped, only a cluster of tests/cluster has nodes that can be broken so");
            continue;
        }
        println!("── {name}");
        let since = Instant::now();
        let words = tell(&mut stage);
        stage.people.no_try_was_spent();
        println!("   {words}");
        table.push((name, since.elapsed(), words));
    }
    println!(
        "\n  NetworkPolicy: skipped, this cluster's network does not enforce it (tests/cluster/README.md)"
    );
    for (name, took, words) in table {
        println!("  {name:<16} {:>5.1} s  {words}", took.as_secs_f32());
    }
    println!("  in {:.0} s", begun.elapsed().as_secs_f32());
}
