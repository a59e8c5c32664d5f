//! When nothing changes, the operator writes nothing. The API server's audit log proves it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::TestNamespace;

async fn versions(place: &TestNamespace<'_>) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for kind in ["BackupKeyVault", "ConfigMap", "Service", "StatefulSet", "NetworkPolicy", "Secret", "Event"]
    {
        for object in place.all(kind).await {
            // The cluster's controllers repeat events about pods without a node.
            if kind == "Event" && object["regarding"]["kind"] != "BackupKeyVault" {
                continue;
            }
            let name = object["metadata"]["name"].as_str().unwrap();
            all.insert(format!("{kind} {name}"), object["metadata"]["resourceVersion"].clone());
        }
    }
    all
}

/// Waits until the operator has written nothing for three seconds. Returns its number of writes.
pub(crate) async fn quiet(place: &TestNamespace<'_>) -> usize {
    quiet_for(place, Duration::from_secs(3)).await
}

async fn quiet_for(place: &TestNamespace<'_>, time: Duration) -> usize {
    place
        .eventually("rest", 90, async || {
            let then = place.written().len();
            tokio::time::sleep(time).await;
            let now = place.written().len();
            if now == then { Ok(now) } else { Err(now) }
        })
        .await
}

async fn rests(place: &TestNamespace<'_>, operator: &bkv_cluster_tests::Operator) {
    // An autoscaler acts every 15 seconds, and the status shows ChatD's replicas.
    let written = quiet_for(place, Duration::from_secs(17)).await;
    let (before, counted) = (versions(place).await, operator.metric("bkv_operator_writes_total", ""));
    let asked = place.asked().len();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(versions(place).await, before);
    assert_eq!(operator.metric("bkv_operator_writes_total", ""), counted);
    let news = place.written();
    assert_eq!(news.len(), written, "{:?}", &news[written.min(news.len())..]);
    assert!(place.asked().len() > asked, "it looked meanwhile");
    assert_eq!(
        operator.metric("bkv_operator_reconcile_errors_total", ""),
        Some(0.0),
        "{}",
        operator.log_text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_waits_for_its_first_vault_is_left_in_peace() {
    let place = TestNamespace::new("rest-begun").await;
    let operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    rests(&place, &operator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_all_objects_is_left_in_peace_also_by_the_next_operator() {
    let place = TestNamespace::new("rest-made").await;
    let operator = place.operator();
    place.made().await;
    place.demo(json!({ "chatd": { "autoscaling": { "minReplicas": 2, "maxReplicas": 4 } } })).await;
    place.until_there("HorizontalPodAutoscaler", "demo-chatd").await;
    rests(&place, &operator).await;
    drop(operator);
    let before = versions(&place).await;
    let next = place.operator_called("one");
    place.eventually("a leader", 30, async || next.leads().then_some(()).ok_or(())).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(versions(&place).await, before);
}

/// The status is a cache: the operator restores it after a GitOps tool or a restore has dropped it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_status_is_rebuilt() {
    let place = TestNamespace::new("wiped").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let timeless = |mut status: Value| {
        for list in ["conditions", "waits"] {
            for item in status[list].as_array_mut().unwrap() {
                for time in ["lastTransitionTime", "since"] {
                    item.as_object_mut().unwrap().remove(time);
                }
            }
        }
        status["operation"].as_object_mut().unwrap().remove("since");
        status
    };
    let before = timeless(place.status().await);
    let wiped = place.server.kubectl(&[
        "-n",
        "wiped",
        "patch",
        "bkv",
        "demo",
        "--subresource=status",
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/status","value":{}}]"#,
    ]);
    assert!(wiped.ok, "{}", wiped.err);
    place
        .eventually("the same status", 30, async || {
            let now = place.status().await;
            if now["operation"].is_object() && timeless(now.clone()) == before { Ok(()) } else { Err(now) }
        })
        .await;
}
