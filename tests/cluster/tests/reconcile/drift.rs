//! Another client changes the operator's objects.

use serde_json::json;

use crate::TestNamespace;
use crate::rest::quiet;
use crate::test_namespace::PATIENCE;

/// Kinds with a generation (StatefulSet, NetworkPolicy) and without (Service, ConfigMap).
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_edited_by_hand_is_mended() {
    let place = TestNamespace::new("edited").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let toml = place.get("ConfigMap", "demo-eu-west").await.unwrap()["data"]["vault.toml"].clone();
    let cases = [
        ("ConfigMap", "demo-eu-west", json!({ "data": { "vault.toml": "x" } }), "/data/vault.toml", toml),
        (
            "Service",
            "demo-eu-west-relay",
            json!({ "spec": { "selector": { "app.kubernetes.io/name": "x" } } }),
            "/spec/selector/app.kubernetes.io~1name",
            json!("bkv"),
        ),
        ("StatefulSet", "demo-eu-west", json!({ "spec": { "replicas": 0 } }), "/spec/replicas", json!(1)),
        (
            "NetworkPolicy",
            "demo-deny",
            json!({ "spec": { "policyTypes": ["Egress"] } }),
            "/spec/policyTypes/0",
            json!("Ingress"),
        ),
        (
            "Service",
            "demo-eu-west",
            json!({ "metadata": { "labels": { "app.kubernetes.io/component": "x" } } }),
            "/metadata/labels/app.kubernetes.io~1component",
            json!("vault"),
        ),
    ];
    for (kind, name, edit, path, wanted) in cases {
        place.edit(kind, name, edit).await;
        place
            .eventually(&format!("mended {kind} {name}"), PATIENCE, async || {
                let now = place.get(kind, name).await.unwrap().pointer(path).cloned();
                if now.as_ref() == Some(&wanted) { Ok(()) } else { Err(now) }
            })
            .await;
    }
    quiet(&place).await;
}

/// An object is edited while the operator is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_while_no_operator_runs_is_mended_by_the_next() {
    let place = TestNamespace::new("edited-meanwhile").await;
    let operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    drop(operator);
    let toml = place.get("ConfigMap", "demo-eu-west").await.unwrap()["data"]["vault.toml"].clone();
    place.edit("ConfigMap", "demo-eu-west", json!({ "data": { "vault.toml": "x" } })).await;
    place.edit("StatefulSet", "demo-eu-west", json!({ "spec": { "replicas": 0 } })).await;
    let _next = place.operator();
    place
        .eventually("both mended", PATIENCE, async || {
            let map = place.get("ConfigMap", "demo-eu-west").await.unwrap();
            let set = place.get("StatefulSet", "demo-eu-west").await.unwrap();
            let now = (map["data"]["vault.toml"].clone(), set["spec"]["replicas"].clone());
            if now == (toml.clone(), json!(1)) { Ok(()) } else { Err(now) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_object_that_is_deleted_is_made_again() {
    let place = TestNamespace::new("deleted-objects").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    for (kind, name) in
        [("Service", "demo-eu-west"), ("StatefulSet", "demo-eu-west"), ("ConfigMap", "demo-eu-west")]
    {
        let before = place.get(kind, name).await.unwrap()["metadata"]["uid"].clone();
        place.delete(kind, name).await;
        place
            .eventually(&format!("{kind} {name} again"), PATIENCE, async || {
                match place.get(kind, name).await {
                    Some(o) if o["metadata"]["uid"] != before => Ok(()),
                    found => Err(found),
                }
            })
            .await;
    }
}

/// An edited image in a vault's StatefulSet is restored, and the status does not blame the journal.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_edited_by_hand_is_put_back() {
    let place = TestNamespace::new("edited-image").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let image = "/spec/template/spec/containers/0/image";
    let before = place.get("StatefulSet", "demo-eu-west").await.unwrap().pointer(image).unwrap().clone();
    let other = json!([{ "name": "vault", "image": "registry.example/evil:1" }]);
    place
        .edit(
            "StatefulSet",
            "demo-eu-west",
            json!({ "spec": { "template": { "spec": { "containers": other } } } }),
        )
        .await;
    place
        .eventually("the image again", PATIENCE, async || {
            let now = place.get("StatefulSet", "demo-eu-west").await.unwrap().pointer(image).unwrap().clone();
            if now == before { Ok(()) } else { Err(now) }
        })
        .await;
    assert!(place.waits("JournalChanged").await.is_empty());
}

/// Objects that may hold keys are never pruned, whatever their labels.
#[tokio::test(flavor = "multi_thread")]
async fn unplanned_objects_are_pruned_and_objects_with_keys_stay() {
    let place = TestNamespace::new("pruned").await;
    let _operator = place.operator();
    place.made().await;
    let uid = place.demo(json!({ "chatd": { "autoscaling": { "minReplicas": 2, "maxReplicas": 4 } } })).await
        ["metadata"]["uid"]
        .clone();
    place.until_there("HorizontalPodAutoscaler", "demo-chatd").await;
    place.until_there("NetworkPolicy", "demo-vault").await;
    quiet(&place).await;
    // As if the StatefulSet of a removed region had left them, and a user had made the resource their owner.
    let labels = json!({ "app.kubernetes.io/managed-by": "bkv-operator", "bkv.dev/vault": "demo", "bkv.dev/region": "old" });
    let owner = json!([{ "apiVersion": "bkv.dev/v1alpha1", "kind": "BackupKeyVault", "name": "demo", "uid": uid, "controller": true }]);
    let claim = json!({
        "metadata": { "labels": labels, "ownerReferences": owner },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    place.put("PersistentVolumeClaim", "data-demo-old-0", claim).await;
    // An unplanned object of ours is pruned, which proves that the pass did prune.
    place
        .put(
            "ConfigMap",
            "demo-leftover",
            json!({ "metadata": { "labels": labels, "ownerReferences": owner } }),
        )
        .await;
    place.demo(json!({ "networkPolicy": "None", "chatd": { "replicas": 1 } })).await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
    place.until_gone("HorizontalPodAutoscaler", "demo-chatd").await;
    place.until_gone("ConfigMap", "demo-leftover").await;
    quiet(&place).await;
    let stays = [
        ("PersistentVolumeClaim", "data-demo-old-0"),
        ("ConfigMap", "demo-fleet"),
        ("Secret", "demo-eu-west-pin"),
        ("Secret", "demo-ca"),
        ("Secret", "demo-chatd-web-ca"),
        ("StatefulSet", "demo-eu-west"),
        ("Deployment", "demo-chatd"),
    ];
    for (kind, name) in stays {
        assert!(place.get(kind, name).await.is_some(), "{kind} {name}");
    }
    assert_eq!(place.get("Deployment", "demo-chatd").await.unwrap()["spec"]["replicas"], 1);
}
