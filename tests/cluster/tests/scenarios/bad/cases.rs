//! The mistakes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::resource;
use crate::testbed::Testbed;

/// One mistake.
#[derive(Default)]
pub(crate) struct Case {
    /// The resource's name.
    pub(crate) name: &'static str,
    /// Merged over the spec of a good resource.
    pub(crate) spec: Value,
    /// Another StorageClass.
    pub(crate) class: Option<&'static str>,
    /// Objects that exist before the resource.
    pub(crate) before: Vec<Value>,
    /// Runs once the resource is applied.
    pub(crate) later: Option<fn(&Testbed, &str, &str)>,
    /// Checks at the end.
    pub(crate) after: Option<fn(&Testbed, &str)>,
    /// The reason that the status must report.
    pub(crate) check: &'static str,
    /// A part of the wait's target. Empty: the mistake is no wait, because everything else goes on, and only a condition reports it.
    pub(crate) target: &'static str,
    /// Words that the message must contain: the fault and the remedy.
    pub(crate) words: &'static [&'static str],
    /// The condition, and its status.
    pub(crate) condition: (&'static str, &'static str),
}

fn secret(name: &str, key: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { key: value } })
}

fn pin(name: &str) -> Value {
    json!({ "hsm": { "softhsm": { "pinSecretRef": { "name": name } } } })
}

fn module(image: &str, path: &str) -> Value {
    json!({ "hsm": { "softhsm": null, "pkcs11": {
        "libraryImage": image,
        "modulePath": path,
        "tokenLabel": "bkv",
        "pinSecretRef": { "name": "good-pin" },
    } } })
}

const STALLED: (&str, &str) = ("Stalled", "True");
const HSM: (&str, &str) = ("HsmReady", "False");

pub(crate) fn all() -> Vec<Case> {
    vec![
        Case {
            name: "image",
            spec: json!({ "images": { "vault": "localhost/bkv-nowhere:1", "pullPolicy": "IfNotPresent" } }),
            check: "ImageUnavailable",
            target: "image-",
            words: &["localhost/bkv-nowhere:1", "check its name"],
            condition: STALLED,
            ..Case::default()
        },
        Case {
            name: "pin-missing",
            spec: pin("nowhere"),
            check: "PinSecret",
            target: "nowhere",
            words: &["nowhere", "create it with the PIN"],
            condition: HSM,
            ..Case::default()
        },
        Case {
            name: "pin-empty",
            before: vec![secret("empty-pin", "pin", "")],
            spec: pin("empty-pin"),
            check: "PinSecret",
            target: "empty-pin",
            words: &["is empty", "put"],
            condition: HSM,
            ..Case::default()
        },
        Case {
            name: "pin-wrong",
            before: vec![secret("changed-pin", "pin", "first-pin-of-this-token")],
            spec: pin("changed-pin"),
            later: Some(change_pin),
            check: "ContainerEnds",
            target: "pin-wrong-",
            words: &["ends with 65", "PIN"],
            condition: HSM,
            ..Case::default()
        },
        Case {
            name: "module-path",
            before: vec![secret("good-pin", "pin", "some-pin-of-a-module")],
            spec: module("localhost/bkv-vault:dev", "/usr/lib/softhsm/nowhere.so"),
            check: "ContainerEnds",
            target: "module-path-",
            words: &["nowhere.so"],
            condition: HSM,
            ..Case::default()
        },
        Case {
            name: "library",
            spec: module("localhost/bkv-chatd:dev", "/usr/lib/softhsm/libsofthsm2.so"),
            check: "ContainerEnds",
            target: "library-",
            words: &["container library", "/usr/lib/softhsm"],
            condition: HSM,
            ..Case::default()
        },
        Case {
            name: "class",
            class: Some("nowhere"),
            check: "VolumePending",
            target: "class-",
            words: &["StorageClass nowhere", "kubectl describe pvc"],
            condition: ("StorageReady", "False"),
            ..Case::default()
        },
        Case {
            name: "issuer",
            spec: json!({ "clientAuth": { "jwks": { "configMapRef": { "name": "nowhere" } } } }),
            check: "IssuerKeys",
            target: "jwks",
            words: &["create the ConfigMap"],
            condition: STALLED,
            ..Case::default()
        },
        Case {
            name: "issuer-none",
            before: vec![json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": { "name": "no-keys" },
                "data": { "jwks.json": "{\"nokeys\": 1}" },
            })],
            spec: json!({ "clientAuth": { "jwks": { "configMapRef": { "name": "no-keys" } } } }),
            check: "IssuerKeys",
            target: "jwks",
            words: &["ConfigMap no-keys", "not a JWKS"],
            condition: STALLED,
            ..Case::default()
        },
        Case {
            name: "collision",
            before: vec![json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "name": "collision-chatd", "labels": { "whose": "somebody" } },
                "spec": { "ports": [{ "port": 1 }] },
            })],
            after: Some(untouched),
            spec: json!({}),
            check: "NameCollision",
            target: "Service collision-chatd",
            words: &["does not belong to this resource", "rename"],
            condition: STALLED,
            ..Case::default()
        },
        Case {
            name: "postgres",
            before: vec![secret(
                "refusing",
                "uri",
                "postgres://bkv:some-password@demo-postgres.people.svc:5432/bkv?sslmode=require",
            )],
            spec: json!({ "postgres": { "none": null, "external": { "secretRef": { "name": "refusing" } } } }),
            check: "Unavailable",
            target: "",
            words: &["check its address, user, password"],
            condition: ("PostgresReady", "False"),
            ..Case::default()
        },
        Case {
            name: "quota",
            before: vec![json!({
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": { "name": "few" },
                "spec": { "hard": { "count/poddisruptionbudgets.policy": "0" } },
            })],
            spec: json!({ "chatd": { "replicas": 2 } }),
            check: "QuotaExceeded",
            target: "PodDisruptionBudget quota-chatd",
            words: &["exceeded quota", "raise the ResourceQuota"],
            condition: STALLED,
            ..Case::default()
        },
    ]
}

/// The token is made with one PIN. Then the Secret gets another PIN and the pod restarts.
fn change_pin(testbed: &Testbed, namespace: &str, name: &str) {
    let cluster = &testbed.cluster;
    cluster.until("the token is made", Duration::from_secs(90), || {
        let now = resource::read(cluster, namespace, name);
        let region = &now["status"]["regions"][0]["hsm"]["identityFingerprint"];
        if region.is_string() { Ok(()) } else { Err(resource::summary(&now)) }
    });
    cluster.apply(namespace, &secret("changed-pin", "pin", "second-pin-of-this-token"));
    cluster
        .kubectl(&[
            "-n",
            namespace,
            "delete",
            "pod",
            "-l",
            &format!("bkv.dev/vault={name}"),
            "--grace-period=1",
        ])
        .good();
}

/// The object of another owner is unchanged.
fn untouched(testbed: &Testbed, namespace: &str) {
    let service = testbed.cluster.get(namespace, "service", "collision-chatd");
    assert_eq!(service["spec"]["ports"][0]["port"], 1, "{service}");
    assert_eq!(service["metadata"]["labels"], json!({ "whose": "somebody" }), "{service}");
}
