//! Scenario 2: the operator is killed at each step of making three fleets. Each fleet ends Ready, with the id, the root and the keys that it began with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::resource::{self, REGIONS};
use super::testbed::{SYSTEM, Testbed};

const NAMESPACE: &str = "killed";
const FLEETS: [&str; 3] = ["one", "two", "three"];

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.namespace(NAMESPACE);
    let since = Instant::now();
    for name in FLEETS {
        testbed.cluster.apply(NAMESPACE, &resource::small(name, &REGIONS, &json!({})));
    }
    let (mut met, mut kills) = (BTreeSet::new(), 0);
    // What must never change once it exists.
    let mut fixed = BTreeMap::<String, Value>::new();
    testbed.cluster.until("all are Ready", Duration::from_mins(4), || {
        let mut new = false;
        for map in testbed.cluster.list(NAMESPACE, "configmaps", "app.kubernetes.io/managed-by=bkv-operator")
        {
            for (fact, value) in facts(&map) {
                // The first fleet that reaches the step is enough, since they progress side by side.
                if let Some(step) = fact.strip_prefix("step ") {
                    new |= met.insert(step.to_owned());
                } else {
                    let kept = fixed.entry(fact.clone()).or_insert_with(|| value.clone());
                    assert_eq!(*kept, value, "{fact} changed");
                }
            }
        }
        if new {
            kill(testbed, kills);
            kills += 1;
        }
        FLEETS
            .iter()
            .try_for_each(|name| resource::settled(&resource::read(&testbed.cluster, NAMESPACE, name)))
    });
    let took = since.elapsed();
    assert!(met.len() >= 5, "only these steps were met: {met:?}");
    assert_eq!(fixed.len(), 2 * FLEETS.len(), "{fixed:?}");
    for name in FLEETS {
        let ada = testbed.person(NAMESPACE, name, "ada");
        assert!(ada.register().ok);
        let again = ada.recover("password");
        assert!(again.ok, "{again:?}");
    }
    testbed.leave(NAMESPACE);
    format!("{kills} kills at the steps {met:?}; all Ready after {:.0} s", took.as_secs_f32())
}

/// In turn: kill -9 in place, which keeps the lease, and the loss of all operator pods, after which the lease must expire.
fn kill(testbed: &Testbed, number: usize) {
    if number.is_multiple_of(2) && testbed.cluster.breakable() {
        for pod in testbed.operators() {
            let _gone_already = testbed.cluster.cluster(&["kill", "-n", SYSTEM, &pod]);
        }
    } else {
        let label = "app.kubernetes.io/name=bkv-operator";
        let delete =
            ["-n", SYSTEM, "delete", "pod", "-l", label, "--grace-period=0", "--force", "--wait=false"];
        testbed.cluster.kubectl(&delete).good();
    }
}

/// Steps that a fleet's ConfigMap shows, and the parts of it that must never change.
fn facts(map: &Value) -> Vec<(String, Value)> {
    let name = map["metadata"]["name"].as_str().unwrap();
    let Some((vault, what)) = name.rsplit_once('-').filter(|(v, _)| FLEETS.contains(v)) else {
        return Vec::new();
    };
    match what {
        "fleet" => {
            let stage = map["data"]["stage"].as_str().unwrap_or_default();
            vec![
                (format!("{vault} id"), map["data"]["fleet"].clone()),
                (format!("step {stage}"), Value::Null),
            ]
        }
        "root" => {
            let root = map["binaryData"]["root.bin"].clone();
            if root.is_null() {
                return Vec::new();
            }
            vec![(format!("{vault} root"), root), ("step root".into(), Value::Null)]
        }
        "documents" => {
            let all = map["binaryData"].as_object();
            all.into_iter().flatten().map(|(key, _)| (format!("step {key}"), Value::Null)).collect()
        }
        _ => Vec::new(),
    }
}
