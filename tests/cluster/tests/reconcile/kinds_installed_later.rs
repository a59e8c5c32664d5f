//! Definitions of other projects are installed after the resource, and deleted again. The test has its own server.

use bkv_cluster_tests::definitions::{GATEWAY_API, PROMETHEUS_OPERATOR, install};
use serde_json::{Value, json};

use crate::kinds_known::{ALL, rests};
use crate::{TestNamespace, definition, server_with};

/// Seconds. The operator looks every ten seconds, and the server needs time to serve a new definition.
const LOOK: u64 = 60;

fn spec(network: &str) -> Value {
    json!({
        "chatd": { "expose": { "gateway": { "hostnames": ["vault.example.org"], "parentRefs": [{ "name": "public" }] } }, "trustedProxies": ["10.0.8.0/24"] },
        "monitoring": { "podMonitor": true, "prometheusRule": true },
        "networkPolicy": network,
    })
}

async fn unknown(place: &TestNamespace<'_>) -> Vec<String> {
    let mut kinds: Vec<_> =
        place.waits("KindUnknown").await.iter().map(|w| w["target"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds
}

async fn until_unknown(place: &TestNamespace<'_>, wanted: &[&str]) {
    place
        .eventually(&format!("only {wanted:?} unknown"), LOOK, async || {
            let found = unknown(place).await;
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_kinds_are_reported_and_made_once_they_are_installed() {
    let server = server_with(Some(definition())).await;
    let place = TestNamespace::with(&server, "come", &ALL).await;
    let operator = place.operator();
    place.made().await;
    place.demo(spec("Managed")).await;
    place.until_there("Deployment", "demo-chatd").await;
    until_unknown(&place, &["BackendTLSPolicy", "HTTPRoute", "PodMonitor", "PrometheusRule"]).await;
    place.until("Stalled", "True", "KindUnknown").await;
    let waits = place.waits("KindUnknown").await;
    for (kind, field, project) in [
        ("HTTPRoute", "spec.chatd.expose.gateway", "install Gateway API"),
        ("PodMonitor", "spec.monitoring.podMonitor", "install the Prometheus operator"),
    ] {
        let message = waits.iter().find(|w| w["target"] == kind).unwrap()["message"].as_str().unwrap();
        assert!(message.contains(field) && message.contains(project), "{message}");
    }
    // The rest of the plan is still applied.
    place.demo(spec("None")).await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
    rests(&place).await;

    install(&server, GATEWAY_API).await;
    until_unknown(&place, &["PodMonitor", "PrometheusRule"]).await;
    place.until_there("HTTPRoute", "demo-chatd").await;
    place.until_there("BackendTLSPolicy", "demo-chatd").await;
    install(&server, PROMETHEUS_OPERATOR).await;
    until_unknown(&place, &[]).await;
    place.until_there("PodMonitor", "demo").await;
    place.until_there("PrometheusRule", "demo").await;
    place.until("Stalled", "False", "Moving").await;
    rests(&place).await;
    assert_eq!(
        operator.metric("bkv_operator_reconcile_errors_total", ""),
        Some(0.0),
        "{}",
        operator.log_text()
    );

    // A project is uninstalled together with its objects.
    let gone = server.kubectl(&["delete", "crd", "podmonitors.monitoring.coreos.com"]);
    assert!(gone.ok, "{}", gone.err);
    until_unknown(&place, &["PodMonitor"]).await;
    place.demo(spec("Managed")).await;
    place.until_there("NetworkPolicy", "demo-vault").await;
    rests(&place).await;
    assert!(place.get("HTTPRoute", "demo-chatd").await.is_some());
    install(&server, PROMETHEUS_OPERATOR).await;
    until_unknown(&place, &[]).await;
    place.until_there("PodMonitor", "demo").await;
    rests(&place).await;
}
