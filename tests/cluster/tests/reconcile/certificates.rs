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

/// A foreign Secret in the place of the web authority, of ChatD's certificate or of one vault's takes that part out, and not the operator's own certificate: with that the
/// operator goes on asking every vault.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_does_not_cut_the_operator_off_from_the_vaults() {
    for (n, name) in ["demo-chatd-web-ca", "demo-chatd-web", "demo-eu-west-tls"].into_iter().enumerate() {
        let place = TestNamespace::new(&format!("foreign-certificate-{n}")).await;
        place.put("Secret", name, json!({ "stringData": { "tls.key": "theirs" } })).await;
        let _operator = place.operator();
        place.demo(json!({})).await;
        let words = place.until("CertificatesValid", "False", "Missing").await;
        assert!(words.contains(name) && words.contains("rename the resource"), "{words}");
        let waits = place.waits("NameCollision").await;
        assert_eq!(waits.iter().map(|w| w["target"].clone()).collect::<Vec<_>>(), [format!("Secret {name}")]);
        let status = place.status().await;
        let listed: Vec<&str> =
            status["certificates"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert!(listed.contains(&"demo-admin") && !listed.contains(&name), "{name}: {listed:?}");
        place.delete("Secret", name).await;
        place.until("CertificatesValid", "True", "Valid").await;
        place.until_there("Secret", name).await;
    }
}

/// Clients outside of the cluster follow by hand, so the condition names the Secret with what they need, and the time. Nobody is cut off before.
#[tokio::test(flavor = "multi_thread")]
async fn people_learn_in_time_that_clients_need_the_next_web_authority() {
    let place = TestNamespace::new("next-web-authority").await;
    let _operator = place.operator();
    place.demo(json!({})).await;
    place.until_started().await;
    quiet(&place).await;
    let web = "demo-chatd-web-ca";
    let text = async |name: &str, key: &str| {
        let data = place.get("Secret", name).await.unwrap()["data"].clone();
        String::from_utf8(STANDARD.decode(data[key].as_str().unwrap_or_default()).unwrap()).unwrap()
    };
    let key = rcgen::KeyPair::from_pem(&text(web, "tls.key").await).unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = epoch + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    params.not_before = now - Duration::from_hours(24 * 730);
    params.not_after = now + Duration::from_hours(24 * 360);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "demo web CA");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let aged = params.self_signed(&key).unwrap().pem();
    place.edit("Secret", web, json!({ "data": { "tls.crt": encoded(&aged) } })).await;
    for max in (2..9).rev() {
        looked_at(&place, json!({ "attempts": { "max": max } })).await;
        if place.condition("CertificatesValid").await.1 == "WebAuthorityChanges" {
            break;
        }
    }
    let words = place.until("CertificatesValid", "True", "WebAuthorityChanges").await;
    assert!(words.contains("give every client the `ca.crt` of the Secret demo-chatd-web before"), "{words}");
    assert!(place.events().await.contains(&"WebAuthorityChanges".to_owned()));
    let (given, next) = (text("demo-chatd-web", "ca.crt").await, text(web, "next.crt").await);
    assert!(!next.is_empty() && given.contains(&next) && given.contains(&text(web, "tls.crt").await));
    // Eleven minutes later the next one would have signed.
    let since: i64 = text(web, "since").await.parse().unwrap();
    place.edit("Secret", web, json!({ "data": { "since": encoded(&(since - 660).to_string()) } })).await;
    looked_at(&place, json!({ "attempts": { "max": 1 } })).await;
    assert_eq!(text(web, "next.crt").await, next, "it signs in three months");
}
