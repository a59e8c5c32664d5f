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
mod status_wiped;
mod testbed;

use std::time::Instant;

use testbed::Testbed;

/// A scenario's name and body. The body returns a summary.
type Scenario = (&'static str, fn(&mut Testbed) -> String);

/// All scenarios, in the order in which they run. The table shows the summary that each returns.
const ALL: [Scenario; 14] = [
    ("hardened", hardened::run),
    ("rest", rest::run),
    ("scraped", scraped::run),
    ("status_wiped", status_wiped::run),
    ("leader_paused", leader_paused::run),
    ("drains", drains::run),
    ("region_down", region_down::run),
    ("postgres_gone", postgres_gone::run),
    ("rotation", rotation::run),
    ("bad", bad::run),
    ("ceremony", ceremony::run),
    ("killed_operator", killed_operator::run),
    ("lost", lost::run),
    ("secrets", secrets::run),
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
    let (mut testbed, installed) = install::run();
    let mut table = vec![("install", begun.elapsed(), installed)];
    for (name, run) in ALL {
        if wanted.as_ref().is_some_and(|w| !w.contains(&name)) {
            println!("{name}: skipped, because BKV_SCENARIOS does not list it");
            continue;
        }
        if NEED_OUR_NODES.contains(&name) && !testbed.cluster.breakable() {
            println!(
                "{name}: skipped, because only a cluster of tests/cluster has nodes whose power can be cut"
            );
            continue;
        }
        println!("── {name}");
        let since = Instant::now();
        let summary = run(&mut testbed);
        testbed.people.no_try_was_spent();
        println!("   {summary}");
        table.push((name, since.elapsed(), summary));
    }
    println!(
        "\n  NetworkPolicy: skipped, because this cluster's network does not enforce it (tests/cluster/README.md)"
    );
    for (name, took, summary) in table {
        println!("  {name:<16} {:>5.1} s  {summary}", took.as_secs_f32());
    }
    println!("  in {:.0} s", begun.elapsed().as_secs_f32());
}
