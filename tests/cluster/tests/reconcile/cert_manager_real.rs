//! cert-manager's real controllers issue, from an Issuer of kind CA. The test has its own server, because they would also serve other tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_cluster_tests::CertManager;
use bkv_cluster_tests::definitions::{CERT_MANAGER, install};
use bkv_operator::certificates::read_chain;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::kinds_known::{ALL, rests};
use crate::test_namespace::PATIENCE;
use crate::{TestNamespace, definition, server_with};

const NAMES: [&str; 4] = ["demo-admin", "demo-chatd-tls", "demo-chatd-web", "demo-eu-west-tls"];

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    (params, KeyPair::generate().unwrap())
}

/// A typical Issuer `internal`: an intermediate authority under a root that is elsewhere. Returns the root.
async fn issuer(place: &TestNamespace<'_>) -> String {
    let (root, root_key) = authority("root");
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let (between, key) = authority("between");
    let chain = between.signed_by(&key, &Issuer::new(root, root_key)).unwrap().pem() + &root_pem;
    let data = json!({ "tls.crt": STANDARD.encode(chain), "tls.key": STANDARD.encode(key.serialize_pem()) });
    place.put("Secret", "internal-ca", json!({ "type": "kubernetes.io/tls", "data": data })).await;
    let object = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Issuer",
        "metadata": { "name": "internal", "namespace": place.account.namespace },
        "spec": { "ca": { "secretName": "internal-ca" } },
    });
    place.server.apply(&object).await.unwrap();
    root_pem
}

fn spec(host: &str) -> Value {
    json!({
        "tls": { "certManager": { "issuerRef": { "name": "internal" }, "leafValidity": "1h" } },
        "chatd": { "expose": { "service": { "hostNames": [host] } } },
        "postgres": { "none": {} },
    })
}

async fn file(place: &TestNamespace<'_>, secret: &str, key: &str) -> Vec<u8> {
    let found = place.until_there("Secret", secret).await["data"][key].clone();
    STANDARD.decode(found.as_str().unwrap_or_default()).unwrap()
}

async fn until_good(place: &TestNamespace<'_>, host: &str) {
    let wanted = format!("dns:{host}");
    place
        .eventually("a web certificate of that name", PATIENCE, async || {
            let names =
                read_chain(&file(place, "demo-chatd-web", "tls.crt").await).map(|c| c[0].names.clone());
            if names.as_ref().is_some_and(|n| n.contains(&wanted)) { Ok(()) } else { Err(names) }
        })
        .await;
    place
        .eventually("no wait for a certificate", PATIENCE, async || {
            let waits = place.waits("Certificate").await;
            if waits.is_empty() { Ok(()) } else { Err(waits) }
        })
        .await;
    place.until("CertificatesValid", "True", "Valid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_managers_own_controllers_give_what_the_fleet_needs() {
    let server = server_with(Some(definition())).await;
    install(&server, CERT_MANAGER).await;
    let _cert_manager = tokio::task::block_in_place(|| CertManager::start(&server));
    let place = TestNamespace::with(&server, "real", &ALL).await;
    let operator = place.operator();
    place.demo(spec("a.example.org")).await;
    // Without the issuer the operator waits for each certificate, and cert-manager reports the same.
    for name in NAMES {
        place.until_there("Certificate", name).await;
    }
    let words = place.until_waiting("Certificate").await["message"].as_str().unwrap().to_owned();
    assert!(words.contains("kubectl describe certificate demo-"), "{words}");
    let root = issuer(&place).await;
    until_good(&place, "a.example.org").await;
    place.until_started().await;

    for name in NAMES {
        let conditions = place.until_there("Certificate", name).await["status"]["conditions"].clone();
        let ready = conditions.as_array().unwrap().iter().find(|c| c["type"] == "Ready").cloned();
        assert_eq!(ready.unwrap_or_default()["status"], "True", "{name}: {conditions}");
        let secret = place.get("Secret", name).await.unwrap();
        assert_eq!(secret["metadata"]["labels"]["bkv.dev/vault"], "demo", "{name}");
        assert_eq!(file(&place, name, "ca.crt").await, root.as_bytes(), "{name}");
        let chain = read_chain(&file(&place, name, "tls.crt").await).unwrap();
        assert_eq!(chain.len(), 2, "{name}: the authority between comes with it");
        assert_eq!(chain[0].calls, name != "demo-chatd-web", "{name}");
        assert_eq!(chain[0].not_after - chain[0].not_before, 3_600, "{name}");
    }
    let role = read_chain(&file(&place, "demo-eu-west-tls", "tls.crt").await).unwrap();
    assert_eq!(role[0].names, ["uri:bkv://role/vault/eu-west"]);
    // The status lists every link: leaf, intermediate and root.
    let listed = place.status().await["certificates"].clone();
    for name in ["demo-admin", "demo-admin/1", "demo-admin/ca"] {
        assert!(listed.as_array().unwrap().iter().any(|c| c["name"] == name), "{name}: {listed}");
    }
    rests(&place).await;

    // Changed names lead to new certificates without a person.
    place.demo(spec("b.example.org")).await;
    until_good(&place, "b.example.org").await;
    rests(&place).await;
    assert_eq!(
        operator.metric("bkv_operator_reconcile_errors_total", ""),
        Some(0.0),
        "{}",
        operator.log_text()
    );
}
