//! The resource is deleted. Objects that keys depend on stay, and a new resource of the same name continues the same fleet.

use serde_json::json;

use crate::TestNamespace;
use crate::rest::quiet;
use crate::test_namespace::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_keys_depend_on_stay_and_the_fleet_goes_on_under_the_same_name() {
    let place = TestNamespace::new("retain").await;
    let operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    // The object as the operator makes it after vaults answer.
    let labels = json!({ "app.kubernetes.io/managed-by": "bkv-operator", "bkv.dev/vault": "demo" });
    place
        .put(
            "ConfigMap",
            "demo-documents",
            json!({ "metadata": { "labels": labels }, "data": { "note": "x" } }),
        )
        .await;
    place.until_waiting("VolumePending").await;
    quiet(&place).await;
    let kept = [
        ("PersistentVolumeClaim", "data-demo-eu-west-0"),
        ("PersistentVolumeClaim", "token-demo-eu-west-0"),
        ("ConfigMap", "demo-fleet"),
        ("ConfigMap", "demo-documents"),
        ("Secret", "demo-eu-west-pin"),
        ("Secret", "demo-ca"),
        // Clients have pinned it.
        ("Secret", "demo-chatd-web-ca"),
    ];
    let mut versions = Vec::new();
    for (kind, name) in kept {
        versions.push(place.get(kind, name).await.expect(name)["metadata"]["uid"].clone());
    }
    let id = place.status().await["fleet"]["id"].clone();
    assert!(operator.metric("bkv_operator_condition", "bkv=\"demo\"").is_some_and(|n| n > 0.0));

    place.delete("BackupKeyVault", "demo").await;
    for (kind, name) in [
        ("StatefulSet", "demo-eu-west"),
        ("Service", "demo-eu-west"),
        ("ConfigMap", "demo-eu-west"),
        ("Secret", "demo-eu-west-tls"),
        ("NetworkPolicy", "demo-vault"),
        ("StatefulSet", "demo-postgres"),
    ] {
        place.until_gone(kind, name).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    for ((kind, name), uid) in kept.iter().zip(&versions) {
        assert_eq!(&place.get(kind, name).await.expect(name)["metadata"]["uid"], uid, "{name}");
    }
    // Alerts about a deleted resource would fire for ever.
    place
        .eventually("no metric about it", PATIENCE, async || {
            let (_, text) = operator.ask("/metrics").unwrap();
            let left: Vec<String> =
                text.lines().filter(|l| l.contains("bkv=\"demo\"")).map(str::to_owned).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;

    place.demo(json!({})).await;
    place.until_there("StatefulSet", "demo-eu-west").await;
    place.until_there("Secret", "demo-eu-west-tls").await;
    place.until_started().await;
    assert_eq!(place.status().await["fleet"]["id"], id, "the same fleet");
    for ((kind, name), uid) in kept.iter().zip(&versions) {
        assert_eq!(&place.get(kind, name).await.expect(name)["metadata"]["uid"], uid, "{name}");
    }
}

/// A resource that is created again while the garbage collector still removes the old one's objects.
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_made_again_at_once_gets_all_its_objects() {
    let place = TestNamespace::new("again-at-once").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let id = place.status().await["fleet"]["id"].clone();
    place.delete("BackupKeyVault", "demo").await;
    let uid = place.demo(json!({})).await["metadata"]["uid"].clone();
    let wanted = [
        ("StatefulSet", "demo-eu-west"),
        ("Service", "demo-eu-west"),
        ("Secret", "demo-eu-west-tls"),
        ("Secret", "demo-postgres"),
    ];
    for (kind, name) in wanted {
        place
            .eventually(&format!("{kind} {name} of the new resource"), PATIENCE, async || {
                let found =
                    place.get(kind, name).await.map(|o| o["metadata"]["ownerReferences"][0]["uid"].clone());
                if found.as_ref() == Some(&uid) { Ok(()) } else { Err(found) }
            })
            .await;
    }
    place.until_started().await;
    assert_eq!(place.status().await["fleet"]["id"], id);
    assert!(!place.events().await.contains(&"NameCollision".to_owned()), "no person has to act");
}
