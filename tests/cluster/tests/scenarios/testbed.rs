//! What the scenarios share: the cluster, the operator in it, the fleet `demo`, and people who use it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bkv_cluster_tests::{Cluster, CommandOutput, Loop, Person, project, retrying_proxy};
use serde_json::{Value, json};

use super::resource::{self, PEOPLE};
use super::secrets;

/// The operator's namespace.
pub(crate) const SYSTEM: &str = "bkv-system";
/// Everything that carries our labels.
pub(crate) const OURS: &str = "statefulsets,deployments,services,serviceaccounts,configmaps,secrets,poddisruptionbudgets,networkpolicies,pods,persistentvolumeclaims";
/// The label of objects that the operator made.
pub(crate) const MADE: &str = "app.kubernetes.io/managed-by=bkv-operator";

pub(crate) struct Testbed {
    pub(crate) people: Loop,
    pub(crate) cluster: Cluster,
    /// Folder of the issuer's key.
    pub(crate) issuer: PathBuf,
    pub(crate) folder: tempfile::TempDir,
}

impl Testbed {
    /// Makes a namespace that admits only restricted pods and holds the issuer's public keys.
    pub(crate) fn namespace(&self, name: &str) {
        namespace(&self.cluster, &self.issuer, name);
    }

    /// Deletes a namespace after a check that none of its secrets was shown anywhere. Its volumes are free again.
    #[track_caller]
    pub(crate) fn leave(&self, name: &str) {
        secrets::assert_no_secret_shown(&self.cluster, name);
        self.cluster.kubectl(&["-n", name, "delete", "bkv", "--all"]).good();
        self.cluster.kubectl(&["delete", "namespace", name, "--timeout=90s"]).good();
        if self.cluster.breakable() {
            self.cluster.must(&["volumes"]);
        }
    }

    /// `demo` as it is now.
    pub(crate) fn demo(&self) -> Value {
        resource::read(&self.cluster, PEOPLE, "demo")
    }

    /// Waits until `demo` is as it should be.
    #[track_caller]
    pub(crate) fn heals(&self, patience: Duration) {
        self.cluster.until("demo heals", patience, || resource::settled(&self.demo()));
    }

    /// A person who reaches the ChatD of a fleet through a proxy.
    pub(crate) fn person(&self, namespace: &str, vault: &str, name: &str) -> Person {
        person(&self.cluster, &self.issuer, self.folder.path(), (namespace, vault), name)
    }

    /// Writes to the API server as the operators count them. (A replica that restarted counts from 0.)
    pub(crate) fn writes(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for pod in self.operators() {
            let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
            let text = self.cluster.kubectl(&["get", "--raw", &path]).good();
            for line in text.lines().filter(|l| l.starts_with("bkv_operator_writes_total")) {
                let (name, number) = line.rsplit_once(' ').expect("a metric");
                *all.entry(name.to_owned()).or_insert(0) += number.parse::<u64>().expect("a number");
            }
        }
        all
    }

    /// Names of the operator's pods that run.
    pub(crate) fn operators(&self) -> Vec<String> {
        let pods = self.cluster.list(SYSTEM, "pods", "app.kubernetes.io/name=bkv-operator");
        let runs =
            |p: &&Value| p["status"]["phase"] == "Running" && p["metadata"]["deletionTimestamp"].is_null();
        pods.iter().filter(runs).map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Kind and name → resource version, of everything that the operator made in a namespace, and of the resources.
    pub(crate) fn versions(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut all = self.cluster.list(namespace, OURS, MADE);
        all.extend(self.cluster.list(namespace, "bkv", ""));
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let of = |o: &Value| {
            let name = format!("{} {}", text(&o["kind"]), text(&o["metadata"]["name"]));
            (name, text(&o["metadata"]["resourceVersion"]))
        };
        all.iter().map(of).collect()
    }

    /// The vault's pod of a region of `demo`.
    pub(crate) fn vault(&self, region: &str) -> Value {
        self.cluster.get(PEOPLE, "pod", &format!("demo-{region}-0"))
    }
}

pub(crate) fn namespace(cluster: &Cluster, issuer: &std::path::Path, name: &str) {
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    let object =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
    cluster.apply("default", &object);
    let mut command = Command::new(project().join("kind/issuer.sh"));
    let keys = CommandOutput::of(command.arg("configmap").arg(issuer), None).good();
    cluster.apply(name, &serde_norway::from_str(&keys).expect("YAML"));
}

pub(crate) fn person(
    cluster: &Cluster,
    issuer: &std::path::Path,
    folder: &std::path::Path,
    (namespace, vault): (&str, &str),
    name: &str,
) -> Person {
    let forward = cluster.forward(namespace, &format!("service/{vault}-chatd"), 443);
    Person::new(cluster, (namespace, vault), retrying_proxy(forward), issuer, folder, name)
}
