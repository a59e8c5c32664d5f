//! The objects of a valid resource.

use std::collections::BTreeSet;

use bkv_operator::kinds::Kind;
use serde_json::{Value, json};
use strum::VariantArray as _;

use crate::TestNamespace;

const KINDS: [&str; 9] = [
    "ServiceAccount",
    "ConfigMap",
    "Service",
    "StatefulSet",
    "Deployment",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "HorizontalPodAutoscaler",
    "Secret",
];

/// The objects with the resource's label.
async fn labelled(place: &TestNamespace<'_>) -> Vec<Value> {
    let mut found = Vec::new();
    for kind in KINDS {
        for mut object in place.all(kind).await {
            if object["metadata"]["labels"]["bkv.dev/vault"] == "demo" {
                object["kind"] = kind.into();
                found.push(object);
            }
        }
    }
    found
}

fn names(objects: &[Value]) -> BTreeSet<String> {
    let name =
        |o: &Value| format!("{} {}", o["kind"].as_str().unwrap(), o["metadata"]["name"].as_str().unwrap());
    objects.iter().map(name).collect()
}

fn list(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// The objects up to the first vault. Those that the fleet's keys depend on have no owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_valid_resource_brings_its_objects_with_labels_manager_and_owner() {
    let place = TestNamespace::new("objects").await;
    let operator = place.operator();
    let uid = place.demo(json!({})).await["metadata"]["uid"].clone();
    place.until_started().await;
    let all = labelled(&place).await;
    let wanted = [
        "ConfigMap demo-eu-west",
        "ConfigMap demo-fleet",
        "NetworkPolicy demo-chatd",
        "NetworkPolicy demo-deny",
        "NetworkPolicy demo-postgres",
        "NetworkPolicy demo-vault",
        "Secret demo-admin",
        "Secret demo-ca",
        "Secret demo-chatd-tls",
        "Secret demo-chatd-web",
        "Secret demo-chatd-web-ca",
        "Secret demo-eu-west-pin",
        "Secret demo-eu-west-tls",
        "Secret demo-postgres",
        "Secret demo-postgres-tls",
        "Secret demo-postgres-url",
        "Service demo-eu-west",
        "Service demo-eu-west-relay",
        "Service demo-postgres",
        "ServiceAccount demo-eu-west",
        "ServiceAccount demo-postgres",
        "StatefulSet demo-eu-west",
        "StatefulSet demo-postgres",
    ];
    assert_eq!(names(&all), list(&wanted));
    for object in &all {
        let (meta, name) = (&object["metadata"], object["metadata"]["name"].as_str().unwrap());
        let labels = &meta["labels"];
        assert_eq!(labels["app.kubernetes.io/managed-by"], "bkv-operator", "{name}");
        assert_eq!(labels["app.kubernetes.io/name"], "bkv", "{name}");
        assert_eq!(labels["app.kubernetes.io/instance"], "demo", "{name}");
        let managers: Vec<_> =
            meta["managedFields"].as_array().unwrap().iter().map(|m| &m["manager"]).collect();
        assert!(managers.iter().any(|m| **m == "bkv-operator"), "{name}: {managers:?}");
        let owner = &meta["ownerReferences"][0];
        if ["demo-fleet", "demo-ca", "demo-chatd-web-ca", "demo-eu-west-pin"].contains(&name) {
            assert!(owner.is_null(), "{name} must outlive the resource");
        } else {
            assert_eq!((&owner["uid"], &owner["controller"]), (&uid, &json!(true)), "{name}");
        }
    }
    drop(operator);
}

/// A complete fleet under the chart's roles. No request is refused by RBAC, and no Secret is ever listed or watched.
#[tokio::test(flavor = "multi_thread")]
async fn the_roles_of_the_chart_are_enough_and_secrets_are_never_listed() {
    let place = TestNamespace::new("roles").await;
    let operator = place.operator();
    place.made().await;
    place.demo(json!({ "chatd": { "autoscaling": { "minReplicas": 2, "maxReplicas": 4 } } })).await;
    place.until_there("Deployment", "demo-chatd").await;
    place.until_there("HorizontalPodAutoscaler", "demo-chatd").await;
    place.until_started().await;
    place.demo(json!({ "networkPolicy": "None", "chatd": { "replicas": 1 } })).await;
    place.until_gone("HorizontalPodAutoscaler", "demo-chatd").await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
    let asked = place.asked();
    // Kinds that the chart gives rights to only on demand are looked for, and left out.
    let on_demand: Vec<_> = Kind::VARIANTS.iter().filter(|k| k.optional()).map(|k| k.plural()).collect();
    let refused: Vec<_> =
        asked.iter().filter(|r| r.code == 403 && !on_demand.contains(&r.resource.as_str())).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(
        asked.iter().any(|r| r.verb == "get" && r.resource == "secrets"),
        "the log is about this operator"
    );
    let of_secrets: BTreeSet<_> = asked
        .iter()
        .filter(|r| r.resource == "secrets")
        .map(|r| (r.verb.as_str(), r.name.is_empty()))
        .collect();
    assert!(
        of_secrets.is_subset(&[("get", false), ("patch", false), ("create", false)].into()),
        "{of_secrets:?}"
    );
    assert!(!operator.log_text().contains("roles of its chart"), "{}", operator.log_text());
}
