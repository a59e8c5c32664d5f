//! cert-manager issues, with the real definitions of its kinds. The test plays the issuer: as requested, late, or different from the request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_cluster_tests::merged;
use serde_json::{Value, json};

use crate::TestNamespace;
use crate::issuer::{CertManager, Habit};
use crate::kinds_known::{ALL, rests, server};
use crate::rest::quiet;
use crate::test_namespace::PATIENCE;

const NAMES: [&str; 5] =
    ["demo-admin", "demo-chatd-tls", "demo-chatd-web", "demo-eu-west-tls", "demo-postgres-tls"];

fn spec(more: &Value) -> Value {
    merged(
        &json!({ "tls": { "certManager": { "issuerRef": { "name": "internal" }, "leafValidity": "24h" } } }),
        more,
    )
}

/// The wait for a certificate, by its Secret.
async fn wait_for(place: &TestNamespace<'_>, secret: &str, words: &str) {
    place
        .eventually(&format!("a wait for {secret} with the message: {words}"), PATIENCE, async || {
            let waits = place.waits("Certificate").await;
            let found = waits.iter().find(|w| w["target"] == secret);
            let reported = found.and_then(|w| w["message"].as_str()).is_some_and(|m| m.contains(words));
            if reported { Ok(()) } else { Err(waits) }
        })
        .await;
}

async fn until_no_wait(place: &TestNamespace<'_>) {
    place
        .eventually("no wait for a certificate", PATIENCE, async || {
            let waits = place.waits("Certificate").await;
            if waits.is_empty() { Ok(()) } else { Err(waits) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_certificate_is_waited_for_by_name_and_then_the_fleet_goes_on() {
    let place = TestNamespace::with(server().await, "issued", &ALL).await;
    let operator = place.operator();
    place.demo(spec(&json!({}))).await;
    for name in NAMES {
        wait_for(&place, name, &format!("kubectl describe certificate {name}")).await;
        let asked = place.until_there("Certificate", name).await["spec"].clone();
        assert_eq!(
            asked["issuerRef"],
            json!({ "group": "cert-manager.io", "kind": "Issuer", "name": "internal" })
        );
        assert_eq!((&asked["duration"], &asked["renewBefore"]), (&json!("24h0m0s"), &json!("8h0m0s")));
    }
    let (status, reason, words) = place.condition("CertificatesValid").await;
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Missing"), "{words}");
    assert!(place.get("Secret", "demo-ca").await.is_none(), "no authority of ours");
    rests(&place).await;

    let issuer = CertManager::new(Habit::Good);
    assert_eq!(issuer.round(&place).await, NAMES.len());
    until_no_wait(&place).await;
    place.until("CertificatesValid", "True", "Valid").await;
    place.until_started().await;
    let listed = place.status().await["certificates"].clone();
    for name in NAMES {
        for name in [name.to_owned(), format!("{name}/ca")] {
            assert!(listed.as_array().unwrap().iter().any(|c| c["name"] == *name), "{name}: {listed}");
        }
    }
    // The database's URL names the authority of its certificate.
    let url = place.until_there("Secret", "demo-postgres-url").await;
    let authority = STANDARD.decode(url["data"]["ca.crt"].as_str().unwrap()).unwrap();
    assert_eq!(String::from_utf8(authority).unwrap(), issuer.authority());
    rests(&place).await;
    // The Secrets belong to cert-manager: the operator writes nothing into them.
    let wrote: Vec<_> = place.written().into_iter().filter(|r| r.resource == "secrets").collect();
    assert!(wrote.iter().all(|r| !NAMES.contains(&r.name.as_str())), "{wrote:?}");

    // The operator prunes a Certificate that is no longer needed.
    place.demo(spec(&json!({ "postgres": { "none": {} } }))).await;
    place.until_gone("Certificate", "demo-postgres-tls").await;
    assert!(place.get("Certificate", "demo-admin").await.is_some());
    assert_eq!(
        operator.metric("bkv_operator_reconcile_errors_total", ""),
        Some(0.0),
        "{}",
        operator.log_text()
    );
}

/// An issuer that ignores parts of the request. Vaults would refuse each other without a visible reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_differs_from_the_request_is_refused() {
    let place = TestNamespace::with(server().await, "misissued", &ALL).await;
    let _operator = place.operator();
    place.demo(spec(&json!({ "postgres": { "none": {} } }))).await;
    place.until_there("Certificate", "demo-eu-west-tls").await;
    place.until_there("Certificate", "demo-chatd-web").await;
    let issuer = CertManager::new(Habit::NoUris);
    for (habit, words) in [
        (
            Habit::NoUris,
            "is for no role, and must be for bkv://role/vault/eu-west alone: the issuer must copy URI names",
        ),
        (Habit::MoreRoles, "is for bkv://role/admin/another, bkv://role/vault/eu-west, and must be"),
        (Habit::ServersOnly, "not good for a client: the issuer must copy usages"),
        (Habit::NoAuthority, "`ca.crt` holds no authority"),
    ] {
        issuer.behave(habit);
        issuer.round(&place).await;
        wait_for(&place, "demo-eu-west-tls", words).await;
        wait_for(&place, "demo-eu-west-tls", "correct the issuer, then delete the Secret").await;
        place.until("Stalled", "True", "Certificate").await;
        let (status, reason, _) = place.condition("CertificatesValid").await;
        assert_eq!((status.as_str(), reason.as_str()), ("False", "Missing"));
        quiet(&place).await;
        for name in NAMES {
            if place.get("Secret", name).await.is_some() {
                place.delete("Secret", name).await;
            }
        }
    }
    issuer.behave(Habit::Good);
    assert_eq!(issuer.round(&place).await, NAMES.len() - 1);
    until_no_wait(&place).await;
    place.until("CertificatesValid", "True", "Valid").await;
    place.until_started().await;
}

/// New host names: the operator requests a new certificate and reports the wait until it is issued.
#[tokio::test(flavor = "multi_thread")]
async fn new_host_names_are_waited_for_and_the_old_certificate_serves_meanwhile() {
    let place = TestNamespace::with(server().await, "renamed", &ALL).await;
    let _operator = place.operator();
    let exposed =
        |host: &str| spec(&json!({ "chatd": { "expose": { "service": { "hostNames": [host] } } } }));
    place.demo(exposed("a.example.org")).await;
    place.until_there("Certificate", "demo-postgres-tls").await;
    let issuer = CertManager::new(Habit::Good);
    place
        .eventually("five", PATIENCE, async || {
            issuer.round(&place).await;
            let given = place.all("Secret").await.iter().filter(|s| s["type"] == "kubernetes.io/tls").count();
            if given == NAMES.len() { Ok(()) } else { Err(given) }
        })
        .await;
    place.until("CertificatesValid", "True", "Valid").await;
    place.demo(exposed("b.example.org")).await;
    wait_for(&place, "demo-chatd-web", "does not name b.example.org yet").await;
    assert_eq!(place.waits("Certificate").await.len(), 1, "the others are good");
    assert_eq!(place.condition("Stalled").await.0, "False", "it comes by itself");
    assert_eq!(issuer.round(&place).await, 1);
    until_no_wait(&place).await;
    place.until("CertificatesValid", "True", "Valid").await;
}
