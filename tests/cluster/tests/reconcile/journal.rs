//! The journal, the last record of a fleet when everything else is lost.

use serde_json::json;

use crate::TestNamespace;
use crate::rest::quiet;

/// A vault may already hold state of the journal's fleet, and another id would not match it. The operator changes nothing and asks a person.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_deleted_over_workloads_is_not_begun_anew() {
    let place = TestNamespace::new("journal-deleted").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let before = place.get("ConfigMap", "demo-fleet").await.unwrap();
    assert_eq!(before["data"]["stage"], "begun");
    place.delete("ConfigMap", "demo-fleet").await;
    let words = place.until("Stalled", "True", "JournalGone").await;
    assert!(words.contains("restore"), "{words}");
    quiet(&place).await;
    assert!(place.get("ConfigMap", "demo-fleet").await.is_none(), "no new id over the old one's workloads");
    assert!(place.get("StatefulSet", "demo-eu-west").await.is_some(), "nothing is taken away either");
    // With the journal restored, the operator continues the same fleet.
    place
        .put(
            "ConfigMap",
            "demo-fleet",
            json!({ "metadata": { "labels": before["metadata"]["labels"] }, "data": before["data"] }),
        )
        .await;
    place.until("Stalled", "False", "Moving").await;
    assert_eq!(place.status().await["fleet"]["id"], before["data"]["fleet"]);
}

/// A guess could make new keys over old ones, so the operator changes nothing and reports the fault.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_journal_stops_everything() {
    let place = TestNamespace::new("journal-unreadable").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let good = place.get("ConfigMap", "demo-fleet").await.unwrap()["data"].clone();
    place.edit("ConfigMap", "demo-fleet", json!({ "data": { "stage": "done" } })).await;
    let words = place.until("Stalled", "True", "JournalUnreadable").await;
    assert!(
        words.contains("demo-fleet") && words.contains("stage") && words.contains("restore it"),
        "{words}"
    );
    // Meanwhile the operator creates, repairs and prunes nothing.
    place.delete("StatefulSet", "demo-eu-west").await;
    place.edit("ConfigMap", "demo-eu-west", json!({ "data": { "vault.toml": "x" } })).await;
    place.demo(json!({ "networkPolicy": "None" })).await;
    quiet(&place).await;
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    assert!(place.get("StatefulSet", "demo-eu-west").await.is_none());
    assert!(place.get("NetworkPolicy", "demo-vault").await.is_some());
    assert_eq!(place.get("ConfigMap", "demo-eu-west").await.unwrap()["data"]["vault.toml"], "x");
    assert_eq!(
        place.get("ConfigMap", "demo-fleet").await.unwrap()["data"]["stage"],
        "done",
        "left for people"
    );
    assert_eq!(place.condition("Ready").await.0, "False");
    // With the journal repaired, the operator continues the same fleet.
    place.edit("ConfigMap", "demo-fleet", json!({ "data": good })).await;
    place.until_there("StatefulSet", "demo-eu-west").await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
    place.until("Stalled", "False", "Moving").await;
    assert_eq!(place.status().await["fleet"]["id"], good["fleet"]);
}

/// The journal has `initialising`, and its progress is unknown. The stage never goes back, and the PIN of a token that may hold keys is not replaced.
#[tokio::test(flavor = "multi_thread")]
async fn the_journals_stage_never_goes_back_and_a_lost_pin_is_reported_and_not_made() {
    let place = TestNamespace::new("journal-stage").await;
    place.journal("initialising").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    let wait = place.until_waiting("PinSecret").await;
    assert!(wait["message"].as_str().unwrap().contains("restore it"), "{wait}");
    place.until("Stalled", "True", "PinSecret").await;
    quiet(&place).await;
    assert!(place.get("Secret", "demo-eu-west-pin").await.is_none());
    assert_eq!(place.get("ConfigMap", "demo-fleet").await.unwrap()["data"]["stage"], "initialising");
}

/// An attacker who can edit only ConfigMaps must not choose the vaults' image.
#[tokio::test(flavor = "multi_thread")]
async fn another_image_in_the_journal_stops_everything() {
    let place = TestNamespace::new("journal-image").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let image = "/spec/template/spec/containers/0/image";
    let before = place.get("StatefulSet", "demo-eu-west").await.unwrap().pointer(image).unwrap().clone();
    place
        .edit("ConfigMap", "demo-fleet", json!({ "data": { "vaultImage": "registry.example/evil:1" } }))
        .await;
    let message = place.until("Stalled", "True", "JournalChanged").await;
    assert!(message.contains("registry.example/evil:1"), "{message}");
    quiet(&place).await;
    let now = place.get("StatefulSet", "demo-eu-west").await.unwrap().pointer(image).unwrap().clone();
    assert_eq!(now, before);
}

/// The operator observes and reports a paused resource, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_paused_resource_only_the_status_is_written() {
    let place = TestNamespace::new("paused").await;
    let operator = place.operator();
    place.demo(json!({ "paused": true })).await;
    place.until("Reconciling", "False", "Paused").await;
    quiet(&place).await;
    let wrong = |r: &&bkv_cluster_tests::Request| {
        !["backupkeyvaults/status", "events"].contains(&r.resource.as_str())
    };
    let written = place.written();
    assert!(!written.iter().any(|r| wrong(&r)), "{written:?}");
    // Pausing a running fleet also stops all changes.
    place.demo(json!({ "paused": false })).await;
    place.until_started().await;
    quiet(&place).await;
    place.demo(json!({ "paused": true, "networkPolicy": "None" })).await;
    place.until("Reconciling", "False", "Paused").await;
    let from = place.written().len();
    place.delete("StatefulSet", "demo-eu-west").await;
    place.edit("ConfigMap", "demo-eu-west", json!({ "data": { "vault.toml": "x" } })).await;
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let written = place.written();
    assert!(!written[from..].iter().any(|r| wrong(&r)), "{:?}", &written[from..]);
    assert_eq!(place.status().await["phase"], "Paused");
    place.demo(json!({ "networkPolicy": "None" })).await;
    place.until_there("StatefulSet", "demo-eu-west").await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
    drop(operator);
}
