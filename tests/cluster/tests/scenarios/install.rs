//! Scenario 1: the chart in one namespace, a resource in another that admits only restricted pods. The fleet becomes Ready and people use it.

use std::time::{Duration, Instant};

use bkv_cluster_tests::{Cluster, Loop, project};

use super::resource::{self, PEOPLE};
use super::testbed::{SYSTEM, Testbed, namespace, person};

/// Accounts are spread over 16 shards, and each region leads about a third of them. Among ten accounts, almost surely some reach each leader.
const PEOPLE_AT_LEAST: usize = 10;

pub(crate) fn run() -> (Testbed, String) {
    let cluster = Cluster::start();
    let folder = tempfile::Builder::new().prefix("bkv-people-").tempdir().unwrap();
    let issuer = cluster.folder().join("issuer");
    namespace(&cluster, &issuer, SYSTEM);
    namespace(&cluster, &issuer, PEOPLE);
    let chart = project().join("charts/bkv").display().to_string();
    let settings = "scope=cluster,replicas=2,image.tag=dev,image.pullPolicy=Never";
    cluster.must(&[
        "helm",
        "upgrade",
        "--install",
        "bkv",
        &chart,
        "-n",
        SYSTEM,
        "--set",
        settings,
        "--wait",
        "--timeout",
        "2m",
    ]);
    cluster.must(&["helm", "test", "bkv", "-n", SYSTEM, "--timeout", "1m"]);

    let applied = Instant::now();
    cluster.apply(PEOPLE, &resource::demo());
    cluster.until("demo is Ready", Duration::from_mins(3), || {
        resource::settled(&resource::read(&cluster, PEOPLE, "demo"))
    });
    let ready = applied.elapsed();
    let people = (0..PEOPLE_AT_LEAST).map(|number| {
        let name = format!("person-{}-{number}", std::process::id());
        let person = person(&cluster, &issuer, folder.path(), (PEOPLE, "demo"), &name);
        let registered = person.register();
        assert!(registered.ok, "{registered:?}");
        person
    });
    let people = Loop::start(people.collect());
    people.went_on(&cluster, applied, 2);
    people.no_try_was_spent();
    let testbed = Testbed { people, cluster, issuer, folder };
    (testbed, format!("from apply to Ready in {:.1} s; registered and recovered", ready.as_secs_f32()))
}
