//! Scenario 7: two people drain two nodes at once. The fleet's disruption budget admits one eviction and refuses the second.

use std::time::{Duration, Instant};

use super::testbed::Testbed;

const REGIONS: [&str; 2] = ["eu-west", "ap-south"];

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.heals(Duration::from_mins(1));
    let uid = |region: &str| testbed.vault(region)["metadata"]["uid"].clone();
    let before = REGIONS.map(uid);
    let nodes = REGIONS.map(|r| testbed.vault(r)["spec"]["nodeName"].as_str().unwrap().to_owned());
    let since = Instant::now();
    let cluster = &testbed.cluster;
    let drain = |node: &str| {
        cluster.kubectl(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=15s"])
    };
    let answers = std::thread::scope(|s| {
        nodes.each_ref().map(|node| s.spawn(move || drain(node))).map(|d| d.join().unwrap())
    });
    let stayed: Vec<bool> = REGIONS.iter().zip(&before).map(|(region, b)| uid(region) == *b).collect();
    assert_eq!(stayed.iter().filter(|s| **s).count(), 1, "one vault may go and one must stay: {answers:?}");
    for ((answer, stayed), region) in answers.iter().zip(&stayed).zip(REGIONS) {
        // ChatD and the operator have budgets too, and are evicted on the second try.
        let vault = format!("pods/\"demo-{region}-0\"");
        let refused = answer.err.lines().any(|l| l.contains(&vault) && l.contains("disruption budget"));
        assert_eq!((answer.ok, refused), (!stayed, *stayed), "{answer:?}");
    }
    let (recoveries, longest) = testbed.people.went_on(cluster, since, 5);
    for node in &nodes {
        cluster.kubectl(&["uncordon", node]).good();
    }
    testbed.heals(Duration::from_mins(2));
    format!(
        "the second drain was refused; {recoveries} recoveries, the longest {:.1} s",
        longest.as_secs_f32()
    )
}
