//! The resource definition is missing, or of another release than the operator. Each test has its own server.

use std::time::Duration;

use bkv_cluster_tests::definitions::define;
use serde_json::{Value, json};

use crate::rest::quiet;
use crate::test_namespace::PATIENCE;
use crate::{TestNamespace, definition, server_with};

fn properties<'a>(definition: &'a mut Value, of: &str) -> &'a mut serde_json::Map<String, Value> {
    let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{of}/properties");
    definition.pointer_mut(&path).and_then(Value::as_object_mut).unwrap()
}

/// Without the definition the operator waits, logs what to do, and begins when the definition is installed.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_definition_the_operator_waits_and_logs_it_once() {
    let server = server_with(None).await;
    let place = TestNamespace::on(&server, "missing").await;
    let mut operator = place.operator();
    place
        .eventually("a log line about the definition", PATIENCE, async || {
            let words = operator.log_text();
            let logged = words.contains("backupkeyvaults.bkv.dev") && words.contains("bkv-operator crd");
            if logged { Ok(()) } else { Err(words) }
        })
        .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(operator.ended(Duration::ZERO).is_none(), "{}", operator.log_text());
    assert!(operator.log_text().lines().count() < 12, "logged again and again: {}", operator.log_text());
    define(&server, &definition()).await;
    place.demo(json!({})).await;
    place.until_started().await;
}

/// An older definition lacks fields that this operator writes, and the server drops them. The operator must not loop, and reports what it can.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_definition_makes_no_loop() {
    let mut older = definition();
    for field in ["waits", "operation", "certificates", "regions"] {
        properties(&mut older, "status").remove(field).unwrap();
    }
    for field in ["networkPolicy", "monitoring", "attempts"] {
        properties(&mut older, "spec").remove(field).unwrap();
    }
    older["spec"]["versions"][0]["additionalPrinterColumns"] = json!([]);
    let server = server_with(Some(older)).await;
    let place = TestNamespace::on(&server, "older").await;
    let operator = place.operator();
    place.demo(json!({})).await;
    place.until_there("StatefulSet", "demo-eu-west").await;
    place.until("Accepted", "True", "Accepted").await;
    assert_eq!(place.condition("Ready").await.0, "False");
    quiet(&place).await;
    let before = place.written().len();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(place.written().len(), before, "{:?}", &place.written()[before..]);
    assert!(operator.log_text().contains("older than the operator"), "{}", operator.log_text());
    // With the matching definition the operator reports everything. An upgrade of the chart installs both.
    define(&server, &definition()).await;
    drop(operator);
    let _next = place.operator();
    place.until_started().await;
}

/// A newer definition has fields and values that this operator does not know. One such resource must not stop the work on the others.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_resource_does_not_stop_the_others() {
    let mut newer = definition();
    properties(&mut newer, "spec").insert("novelty".into(), json!({ "type": "string" }));
    let server = server_with(Some(newer)).await;
    let place = TestNamespace::on(&server, "newer").await;
    let operator = place.operator();
    let spec = place.demo(json!({})).await["spec"].clone();
    let mut odd = spec;
    odd["novelty"] = "x".into();
    place.put("BackupKeyVault", "odd", json!({ "spec": odd })).await;
    place
        .eventually("a log line about the resource", PATIENCE, async || {
            let words = operator.log_text();
            if words.contains("odd") && words.contains("novelty") { Ok(()) } else { Err(words) }
        })
        .await;
    // An operator that starts when such a resource already exists.
    drop(operator);
    let operator = place.operator();
    place.until_started().await;
    place.demo(json!({ "networkPolicy": "None" })).await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
    assert!(place.get("ConfigMap", "odd-fleet").await.is_none());
    let status = place.get("BackupKeyVault", "odd").await.unwrap()["status"].clone();
    let (accepted, reason, words) = crate::test_namespace::condition(&status, "Accepted");
    assert_eq!((accepted.as_str(), reason.as_str()), ("False", "Unreadable"), "{words}");
    assert!(words.contains("novelty"), "{words}");
    drop(operator);
}
