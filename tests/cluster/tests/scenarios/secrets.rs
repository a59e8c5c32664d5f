//! S37: no secret is in an argument, a variable, an event, a condition, a ConfigMap or a log, after everything that has happened.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_cluster_tests::{Cluster, SoughtSecret};

use super::resource::PEOPLE;
use super::testbed::{SYSTEM, Testbed};

pub(crate) fn run(testbed: &mut Testbed) -> String {
    // Other namespaces were checked before they were deleted.
    let people = assert_no_secret_shown(&testbed.cluster, PEOPLE);
    let system = assert_no_secret_shown(&testbed.cluster, SYSTEM);
    assert!(
        people.secrets > 20 && people.logs > 5 && system.logs > 1,
        "{people:?} {system:?}: too few secrets or logs to prove anything"
    );
    format!(
        "{} secrets of `{PEOPLE}` are in none of {} logs, nor in any object",
        people.secrets,
        people.logs + system.logs
    )
}

/// How much a search for secrets has read.
#[derive(Debug)]
pub(crate) struct Searched {
    /// Parts of Secrets that were searched for.
    secrets: usize,
    /// Logs that were searched.
    logs: usize,
}

/// Fails the test if a secret of a namespace is in an object or log of it, or in the operator's log.
#[track_caller]
pub(crate) fn assert_no_secret_shown(cluster: &Cluster, namespace: &str) -> Searched {
    let mut secrets = Vec::new();
    for secret in cluster.list(namespace, "secrets", "") {
        let name = secret["metadata"]["name"].as_str().unwrap();
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
            secrets.extend(SoughtSecret::new(key, &bytes).map(|secret| (secret, format!("{name}/{key}"))));
        }
    }
    let kinds = "pods,configmaps,statefulsets,deployments,services,bkv,events";
    let objects = cluster.kubectl(&["-n", namespace, "get", kinds, "-o", "json"]).good();
    let mut logs = logs(cluster, namespace);
    if namespace != SYSTEM {
        logs.extend(self::logs(cluster, SYSTEM));
    }
    for (secret, from) in &secrets {
        assert!(!secret.is_in(&objects), "{from} is in an object");
        for (whose, log) in &logs {
            assert!(!secret.is_in(log), "{from} is in the log of {whose}");
        }
    }
    Searched { secrets: secrets.iter().map(|(secret, _)| secret.forms()).sum(), logs: logs.len() }
}

/// The logs of all pods' containers, also from before a restart.
fn logs(cluster: &Cluster, namespace: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for pod in cluster.list(namespace, "pods", "") {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let how = ["-n", namespace, "logs", name, "--all-containers", "--ignore-errors"];
        for more in [&[][..], &["--previous"]] {
            let answer = cluster.kubectl(&[&how[..], more].concat());
            if !answer.out.is_empty() {
                all.push((name.to_owned(), answer.out));
            }
        }
    }
    all
}
