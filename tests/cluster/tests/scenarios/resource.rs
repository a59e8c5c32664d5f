//! `BackupKeyVault`s to apply, and checks of their status.

use bkv_cluster_tests::{Cluster, merged, project};
use serde_json::{Value, json};

/// Where the fleet `demo` lives.
pub(crate) const PEOPLE: &str = "people";

/// As the nodes are labelled.
pub(crate) const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];

/// The fleet of `kind/demo.yaml`, as it is.
pub(crate) fn demo() -> Value {
    let text = std::fs::read_to_string(project().join("kind/demo.yaml")).expect("kind/demo.yaml");
    serde_norway::from_str(&text).expect("kind/demo.yaml")
}

/// The same under another name, smaller, and without a node port. `patch` is merged over its spec.
pub(crate) fn small(name: &str, regions: &[&str], patch: &Value) -> Value {
    let regions: Vec<Value> = regions
        .iter()
        .map(|r| {
            json!({
                "name": r,
                "nodeSelector": { "topology.kubernetes.io/region": r },
                "storage": { "size": "1Gi", "className": "standard" },
                "resources": { "requests": { "cpu": "10m", "memory": "32Mi" } },
            })
        })
        .collect();
    let spec = merged(
        &demo()["spec"],
        &json!({
            "regions": regions,
            "shards": 4,
            "chatd": { "replicas": 1, "expose": { "service": { "type": null, "nodePort": null } } },
            "postgres": { "managed": null, "none": {} },
        }),
    );
    json!({
        "apiVersion": "bkv.dev/v1alpha1",
        "kind": "BackupKeyVault",
        "metadata": { "name": name },
        "spec": if patch.is_null() { spec } else { merged(&spec, patch) },
    })
}

/// The resource as it is now.
pub(crate) fn read(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    cluster.get(namespace, "bkv", name)
}

/// Status and reason of a condition. Both are empty if the resource does not have it.
pub(crate) fn condition<'a>(resource: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let all = resource["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = all.iter().find(|c| c["type"] == kind);
    let field = |name: &str| found.and_then(|c| c[name].as_str()).unwrap_or_default();
    (field("status"), field("reason"))
}

/// An error unless the condition has that status and, if one is given, that reason.
pub(crate) fn wants(resource: &Value, kind: &str, status: &str, reason: &str) -> Result<(), String> {
    let has = condition(resource, kind);
    if has.0 == status && (reason.is_empty() || has.1 == reason) { Ok(()) } else { Err(summary(resource)) }
}

/// An error unless the resource has a warning event with that reason. The operator publishes events after it has written the status.
pub(crate) fn wants_warning(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    reason: &str,
) -> Result<(), String> {
    let events = cluster.list(namespace, "events", "");
    let recorded = events
        .iter()
        .any(|e| e["involvedObject"]["name"] == name && e["reason"] == reason && e["type"] == "Warning");
    if recorded { Ok(()) } else { Err(format!("{name}: no event with the reason {reason}")) }
}

/// Ready, with every region in sync and nothing to wait for.
pub(crate) fn settled(resource: &Value) -> Result<(), String> {
    let quiet = resource["status"]["waits"].as_array().is_none_or(Vec::is_empty);
    if resource["status"]["phase"] == "Ready" && quiet && condition(resource, "Reconciling").0 == "False" {
        Ok(())
    } else {
        Err(summary(resource))
    }
}

/// The phase, the waits, and every condition that is not True.
pub(crate) fn summary(resource: &Value) -> String {
    let status = &resource["status"];
    let mut lines = vec![format!("phase {}", status["phase"])];
    for wait in status["waits"].as_array().into_iter().flatten() {
        lines.push(format!("waits for {} of {}: {}", wait["check"], wait["target"], wait["message"]));
    }
    for c in status["conditions"].as_array().into_iter().flatten().filter(|c| c["status"] != "True") {
        lines.push(format!("{} {} {}: {}", c["type"], c["status"], c["reason"], c["message"]));
    }
    lines.join("\n  ")
}
