//! Specs that the API server accepts and the operator refuses.

use serde_json::{Value, json};

use crate::TestNamespace;

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_the_operator_refuses_is_a_condition_with_the_field() {
    let place = TestNamespace::new("refused").await;
    let _operator = place.operator();
    let module = json!({
        "libraryImage": "i", "modulePath": "/opt/v/m.so", "tokenLabel": "t", "pinSecretRef": { "name": "p" },
        "configMapRef": { "name": "m", "key": "k", "mountPath": "/etc/bkv-tls/x" },
    });
    let names = json!([{ "name": "a" }, { "name": "a-relay" }, { "name": "b" }]);
    let cases: [(Value, &str, &str); 3] = [
        (json!({ "regions": names }), "spec.regions[1].name", "NameCollision"),
        (
            json!({ "hsm": { "softhsm": null, "pkcs11": module } }),
            "spec.hsm.pkcs11.configMapRef.mountPath",
            "Conflict",
        ),
        (json!({ "monitoring": { "labels": { "a b": "c" } } }), "spec.monitoring.labels", "InvalidName"),
    ];
    for (spec, field, reason) in cases {
        let made = place.server.kubectl(&["-n", "refused", "delete", "bkv", "--all"]);
        assert!(made.ok, "{}", made.err);
        place.demo(spec).await;
        let words = place.until("Accepted", "False", reason).await;
        assert!(words.contains(field), "{words}");
        assert_eq!(place.condition("Stalled").await.0, "True");
        assert!(place.get("ConfigMap", "demo-fleet").await.is_none(), "nothing is begun");
    }
}

/// A spec that becomes invalid later leaves the fleet as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_left_as_it_is_while_its_spec_is_refused() {
    let place = TestNamespace::new("refused-later").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    place.demo(json!({ "networkPolicy": "None", "monitoring": { "labels": { "a b": "c" } } })).await;
    place.until("Accepted", "False", "InvalidName").await;
    let status = place.status().await;
    assert!(status["fleet"]["id"].is_string(), "what is known of the fleet stays: {status}");
    assert!(place.get("NetworkPolicy", "demo-vault").await.is_some());
    place.demo(json!({ "networkPolicy": "None" })).await;
    place.until("Accepted", "True", "Accepted").await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
}
