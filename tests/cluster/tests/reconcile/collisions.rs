//! Foreign objects with planned names. The operator never adopts or overwrites them, reports them, and continues when they are deleted.

use std::time::Duration;

use serde_json::{Value, json};

use crate::TestNamespace;
use crate::test_namespace::PATIENCE;

async fn collides(namespace: &str, kind: &'static str, name: &str, body: Value) {
    let place = TestNamespace::new(namespace).await;
    let foreign = place.put(kind, name, body).await;
    let operator = place.operator();
    place.demo(json!({})).await;
    let words = place.until("Stalled", "True", "NameCollision").await;
    assert!(words.contains(kind) && words.contains(name), "the object is named: {words}");
    assert!(words.contains("rename the resource, or remove that object"), "the remedy is named: {words}");
    assert_eq!(place.condition("Ready").await.0, "False");
    place
        .eventually("an event", PATIENCE, async || {
            let events = place.events().await;
            if events.iter().any(|e| e == "NameCollision") { Ok(()) } else { Err(events) }
        })
        .await;
    // The next pass compares with the stored status. An event that came after it would be lost if the operator ended in between.
    let written = place.written();
    let first = |resource: &str| written.iter().position(|r| r.resource == resource);
    let (event, status) = (first("events"), first("backupkeyvaults/status"));
    assert!(event.is_some() && event < status, "events come first: {event:?}, {status:?}");
    crate::rest::quiet(&place).await;
    let before = place.written().len();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(place.written().len(), before, "no loop: {:?}", &place.written()[before..]);
    let now = place.get(kind, name).await.expect("still there");
    // Its own controller may write to its status.
    for part in ["/metadata/uid", "/metadata/labels", "/metadata/annotations", "/spec", "/data"] {
        assert_eq!(now.pointer(part), foreign.pointer(part), "untouched");
    }
    place.delete(kind, name).await;
    place.until_started().await;
    assert_eq!(place.until("Stalled", "False", "Moving").await, "every wait can still end by itself");
    place.until_there(kind, name).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_journal() {
    collides("foreign-fleet", "ConfigMap", "demo-fleet", json!({ "data": { "a": "b" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_authority() {
    collides("foreign-ca", "Secret", "demo-ca", json!({ "stringData": { "tls.key": "theirs" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_web_authority() {
    let theirs = json!({ "stringData": { "tls.key": "theirs" } });
    collides("foreign-web-ca", "Secret", "demo-chatd-web-ca", theirs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_pin() {
    collides("foreign-pin", "Secret", "demo-eu-west-pin", json!({ "stringData": { "pin": "theirs" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_stateful_set() {
    let labels = json!({ "a": "b" });
    let set = json!({ "spec": {
        "replicas": 0, "serviceName": "x", "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "x", "image": "x" }] } },
    } });
    collides("foreign-set", "StatefulSet", "demo-eu-west", set).await;
}

/// An object with the labels of another resource belongs to that resource.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_service_of_another_resource() {
    let labels = json!({ "app.kubernetes.io/managed-by": "bkv-operator", "bkv.dev/vault": "other" });
    let service = json!({ "metadata": { "labels": labels }, "spec": { "ports": [{ "port": 1 }] } });
    collides("foreign-service", "Service", "demo-eu-west-relay", service).await;
}
