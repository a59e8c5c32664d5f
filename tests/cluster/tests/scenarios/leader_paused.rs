//! Scenario 6: the leading vault hangs (SIGSTOP). Connections stay open and nothing answers. Others take over, and the scenario measures the outage.

use std::time::{Duration, Instant};

use super::resource::{self, PEOPLE};
use super::testbed::Testbed;

/// A recovery that begins at the moment of the stop must end within this time.
const GAP: Duration = Duration::from_secs(20);

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.heals(Duration::from_mins(1));
    let (leader, shards) = leader(testbed);
    let since = Instant::now();
    testbed.cluster.must(&["pause", "-n", PEOPLE, &leader]);
    let (recoveries, longest) = testbed.people.went_on(&testbed.cluster, since, testbed.people.round());
    let region = leader.trim_start_matches("demo-").trim_end_matches("-0");
    testbed.cluster.until("the wait VaultSilent", Duration::from_mins(1), || {
        let demo = testbed.demo();
        let waits = demo["status"]["waits"].as_array();
        let reported =
            waits.into_iter().flatten().any(|w| w["check"] == "VaultSilent" && w["target"] == region);
        if reported { Ok(()) } else { Err(resource::summary(&demo)) }
    });
    testbed.cluster.must(&["resume", "-n", PEOPLE, &leader]);
    assert!(longest < GAP, "a person waited for {longest:?}");
    testbed.heals(Duration::from_secs(90));
    format!(
        "{leader} led {shards} shards; {recoveries} recoveries, the longest {:.1} s",
        longest.as_secs_f32()
    )
}

/// The pod that leads most shards, by its own metrics.
fn leader(testbed: &Testbed) -> (String, u64) {
    let pods = ["eu-west", "us-east", "ap-south"].map(|r| format!("demo-{r}-0"));
    let leads = |pod: &String| {
        let path = format!("/api/v1/namespaces/{PEOPLE}/pods/{pod}:9090/proxy/metrics");
        let text = testbed.cluster.kubectl(&["get", "--raw", &path]).good();
        let line = text.lines().find_map(|l| l.strip_prefix("bkv_vault_shards{role=\"leader\"} "));
        line.and_then(|n| n.trim().parse().ok())
            .unwrap_or_else(|| panic!("{pod} has no metric of the shards that it leads:\n{text}"))
    };
    pods.map(|p| (leads(&p), p)).into_iter().max().map(|(n, p)| (p, n)).unwrap()
}
