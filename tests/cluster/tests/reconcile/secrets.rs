//! Secrets and issuer keys that users provide.

use serde_json::json;

use crate::TestNamespace;
use crate::test_namespace::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn an_external_database_is_waited_for_until_its_secret_is_whole() {
    let place = TestNamespace::new("external").await;
    let operator = place.operator();
    place
        .demo(json!({ "postgres": { "external": { "secretRef": { "name": "database", "uriKey": "url" } } } }))
        .await;
    let reported = async |words: &str| {
        place
            .eventually(words, PATIENCE, async || {
                let (status, reason, message) = place.condition("Stalled").await;
                let good = status == "True" && reason == "PostgresSecret" && message.contains(words);
                if good && message.contains("database") { Ok(()) } else { Err((status, reason, message)) }
            })
            .await;
    };
    reported("is not there").await;
    place.put("Secret", "database", json!({ "stringData": { "other": "x" } })).await;
    reported("has no key `url`").await;
    place.put("Secret", "database", json!({ "stringData": { "url": "" } })).await;
    reported("`url` is empty").await;
    let url = "postgres://bkv:never-said-aloud@database.example:6543/bkv?sslmode=verify-full";
    place.put("Secret", "database", json!({ "stringData": { "url": url } })).await;
    place.until("Stalled", "False", "Moving").await;
    assert!(place.get("StatefulSet", "demo-postgres").await.is_none(), "none of ours is made");
    let status = place.status().await.to_string();
    assert!(!status.contains("never-said-aloud") && !operator.log_text().contains("never-said-aloud"));
    let events = place.all("Event").await;
    assert!(!json!(events).to_string().contains("never-said-aloud"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_pin_is_waited_for_until_it_is_whole() {
    let place = TestNamespace::new("given-pin").await;
    let _operator = place.operator();
    place.demo(json!({ "hsm": { "softhsm": { "pinSecretRef": { "name": "pin", "key": "pin" } } } })).await;
    assert!(place.until("Stalled", "True", "PinSecret").await.contains("Secret pin is not there"));
    place.put("Secret", "pin", json!({ "stringData": { "pin": "123456789012" } })).await;
    place.until("Stalled", "False", "Moving").await;
    assert!(place.get("Secret", "demo-eu-west-pin").await.is_none(), "none of ours is made");
}

/// A signed policy with a JWKS without usable keys would be refused by every vault for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_jwks_without_usable_keys_is_reported_and_never_signed() {
    let place = TestNamespace::new("issuer-keys").await;
    let _operator = place.operator();
    place.put("ConfigMap", "keys", json!({ "data": { "jwks.json": "{\"nokeys\":1}" } })).await;
    let jwks = json!({ "url": null, "configMapRef": { "name": "keys", "key": "jwks.json" } });
    place.demo(json!({ "clientAuth": { "jwks": jwks } })).await;
    let message = place.until("Stalled", "True", "IssuerKeys").await;
    assert!(message.contains("ConfigMap keys") && message.contains("not a JWKS"), "{message}");
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let keys = json!({ "keys": [key] }).to_string();
    place.edit("ConfigMap", "keys", json!({ "data": { "jwks.json": keys } })).await;
    place.until("Stalled", "False", "Moving").await;
}
