//! The programs expose every metric that alerts and the dashboard use: a scrape of every pod, compared with monitoring/metrics.yaml.

use std::process::Command;

use bkv_cluster_tests::{CommandOutput, project};

use super::resource::{PEOPLE, REGIONS};
use super::testbed::{MADE, SYSTEM, Testbed};

pub(crate) fn run(testbed: &mut Testbed) -> String {
    let folder = testbed.folder.path().join("scrapes");
    std::fs::create_dir_all(&folder).expect("a folder");
    let scrape = |program: &str, namespace: &str, pod: &str, port: u16| {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics");
        let text = testbed.cluster.kubectl(&["get", "--raw", &path]).good();
        std::fs::write(folder.join(format!("{program}-{pod}.prom")), text).expect("written");
    };
    for region in REGIONS {
        scrape("vault", PEOPLE, &format!("demo-{region}-0"), 9090);
    }
    let front = format!("{MADE},app.kubernetes.io/component=chatd");
    for pod in testbed.cluster.list(PEOPLE, "pods", &front) {
        scrape("chatd", PEOPLE, pod["metadata"]["name"].as_str().unwrap(), 9090);
    }
    for pod in testbed.operators() {
        scrape("operator", SYSTEM, &pod, 8080);
    }
    let number = std::fs::read_dir(&folder).expect("a folder").count();
    let mut check = Command::new(project().join("monitoring/check.sh"));
    let report = CommandOutput::of(check.arg("scrapes").arg(&folder), None).good();
    assert!(!report.contains("skipped"), "{report}");
    format!("{number} pods expose what alerts and dashboard ask for, and nothing else")
}
