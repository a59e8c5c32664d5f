//! Certificates of the built-in authority in their Secrets.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::TestNamespace;
use crate::rest::quiet;
use crate::test_namespace::PATIENCE;

fn encoded(text: &str) -> Value {
    STANDARD.encode(text).into()
}

/// Changes the spec, so that the operator checks certificates at once and not only after two minutes.
async fn looked_at(place: &TestNamespace<'_>, spec: Value) {
    let generation = place.demo(spec).await["metadata"]["generation"].clone();
    place
        .eventually("a pass over the new spec", PATIENCE, async || {
            let seen = place.status().await["observedGeneration"].clone();
            if seen == generation { Ok(()) } else { Err(seen) }
        })
        .await;
}

/// The shortest validity that the API server accepts. The operator must not renew at once or in a loop.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_of_an_hour_is_not_renewed_too_early() {
    let place = TestNamespace::new("short-leaves").await;
    let _operator = place.operator();
    let spec = |shards: u16| json!({ "tls": { "builtin": { "leafValidity": "1h" } }, "attempts": { "max": shards } });
    place.demo(spec(10)).await;
    place.until_started().await;
    quiet(&place).await;
    let names = ["demo-admin", "demo-eu-west-tls", "demo-chatd-tls", "demo-chatd-web", "demo-postgres-tls"];
    let mut before = Vec::new();
    for name in names {
        before.push(place.get("Secret", name).await.unwrap()["metadata"]["resourceVersion"].clone());
    }
    for max in [9, 8] {
        looked_at(&place, spec(max)).await;
        quiet(&place).await;
    }
    for (name, before) in names.iter().zip(before) {
        assert_eq!(place.get("Secret", name).await.unwrap()["metadata"]["resourceVersion"], before, "{name}");
    }
    assert_eq!(place.condition("CertificatesValid").await.0, "True");
}

/// Expired, garbage, of another authority, without its key: the operator issues this certificate again, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_leaf_is_issued_anew() {
    let place = TestNamespace::new("bad-leaves").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let expired = {
        let mut params = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    };
    let spoilt = [
        ("demo-admin", json!({ "tls.crt": encoded(&expired) })),
        ("demo-eu-west-tls", json!({ "tls.crt": encoded("garbage"), "tls.key": encoded("garbage") })),
        ("demo-chatd-tls", json!({ "tls.key": encoded("") })),
        ("demo-postgres-tls", json!({ "tls.key": encoded("garbage") })),
    ];
    for (name, data) in &spoilt {
        place.edit("Secret", name, json!({ "data": data })).await;
    }
    let untouched =
        place.get("Secret", "demo-chatd-web").await.unwrap()["metadata"]["resourceVersion"].clone();
    looked_at(&place, json!({ "attempts": { "max": 9 } })).await;
    for (name, _) in &spoilt {
        let data = place.get("Secret", name).await.unwrap()["data"].clone();
        let text =
            |key: &str| String::from_utf8(STANDARD.decode(data[key].as_str().unwrap()).unwrap()).unwrap();
        assert!(
            text("tls.crt").starts_with("-----BEGIN CERTIFICATE") && text("tls.crt") != expired,
            "{name}"
        );
        assert!(text("tls.key").starts_with("-----BEGIN PRIVATE KEY"), "{name}: {}", text("tls.key").len());
    }
    let now = place.get("Secret", "demo-chatd-web").await.unwrap()["metadata"]["resourceVersion"].clone();
    assert_eq!(now, untouched);
    assert_eq!(place.condition("CertificatesValid").await.0, "True");
}

/// Clients that trust the old authority would refuse a new one, so the operator never replaces an unreadable authority silently.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_authority_is_reported_and_not_replaced() {
    let place = TestNamespace::new("bad-authority").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let mut max = 9;
    for authority in ["demo-ca", "demo-chatd-web-ca"] {
        let good = place.get("Secret", authority).await.unwrap()["data"].clone();
        // A good certificate with a bad key must be reported before something has to be signed.
        for data in [json!({ "tls.key": encoded("garbage") }), json!({ "tls.crt": encoded("garbage") })] {
            place.edit("Secret", authority, json!({ "data": data })).await;
            let spoilt = place.get("Secret", authority).await.unwrap()["metadata"]["resourceVersion"].clone();
            looked_at(&place, json!({ "attempts": { "max": max } })).await;
            max -= 1;
            let (status, reason, words) = place.condition("CertificatesValid").await;
            assert_eq!((status.as_str(), reason.as_str()), ("False", "Missing"), "{words}");
            assert!(words.contains(authority) && words.contains("restore it"), "{words}");
            place.until("Stalled", "True", "Certificate").await;
            quiet(&place).await;
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert_eq!(
                place.get("Secret", authority).await.unwrap()["metadata"]["resourceVersion"],
                spoilt,
                "left for people"
            );
            place.edit("Secret", authority, json!({ "data": good })).await;
            place.until("CertificatesValid", "True", "Valid").await;
        }
    }
}

/// S34: clients get the web authority from ChatD's Secret, and the parts of the fleet get the role authority from theirs. Neither has the other one.
#[tokio::test(flavor = "multi_thread")]
async fn s34_two_authorities_sign_and_neither_is_trusted_for_the_other() {
    let place = TestNamespace::new("two-authorities").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let text = async |name: &str, key: &str| {
        let data = place.get("Secret", name).await.unwrap()["data"].clone();
        String::from_utf8(STANDARD.decode(data[key].as_str().unwrap()).unwrap()).unwrap()
    };
    let (role, web) = (text("demo-ca", "tls.crt").await, text("demo-chatd-web-ca", "tls.crt").await);
    assert_ne!(role, web);
    assert_eq!(text("demo-chatd-web", "ca.crt").await, web);
    for name in ["demo-admin", "demo-eu-west-tls", "demo-chatd-tls", "demo-postgres-tls"] {
        assert_eq!(text(name, "ca.crt").await, role, "{name}");
    }
    let signer = async |name: &str| {
        bkv_operator::certificates::read_chain(text(name, "tls.crt").await.as_bytes()).unwrap().remove(0)
    };
    let (role, web) = (signer("demo-ca").await, signer("demo-chatd-web-ca").await);
    assert_eq!(signer("demo-chatd-web").await.authority, web.subject);
    for name in ["demo-admin", "demo-eu-west-tls", "demo-chatd-tls", "demo-postgres-tls"] {
        assert_eq!(signer(name).await.authority, role.subject, "{name}");
    }
    assert!(!signer("demo-chatd-web").await.calls, "the web certificate is no client's");
}
