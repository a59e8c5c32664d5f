//! Objects of other projects' kinds, on a server with the real definitions.

use std::collections::BTreeSet;
use std::time::Duration;

use bkv_cluster_tests::definitions::{CERT_MANAGER, GATEWAY_API, PROMETHEUS_OPERATOR, install};
use bkv_cluster_tests::{ApiServer, CommandOutput, merged};
use bkv_operator::journal::{Journal, JournalStage, Pinned};
use bkv_operator::kinds::Kind;
use bkv_operator::plan::{self, Content, Embedded, Input, Object, Settings};
use bkv_operator::resource::{BackupKeyVault, PullPolicy};
use bkv_operator::validate::validate;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::rest::quiet;
use crate::{TestNamespace, definition, server_with};

/// All integrations of the chart.
pub(crate) const ALL: [&str; 4] = ["ingress", "gateway", "certManager", "prometheusOperator"];

/// One server with the definitions of all these projects.
pub(crate) async fn server() -> &'static ApiServer {
    static SERVER: OnceCell<ApiServer> = OnceCell::const_new();
    let start = async || {
        let server = server_with(Some(definition())).await;
        for project in [CERT_MANAGER, GATEWAY_API, PROMETHEUS_OPERATOR] {
            install(&server, project).await;
        }
        server
    };
    SERVER.get_or_init(start).await
}

/// Waits until nothing is written, and checks that this lasts for two more passes.
pub(crate) async fn rests(place: &TestNamespace<'_>) {
    quiet(place).await;
    let (written, asked) = (place.written().len(), place.asked().len());
    tokio::time::sleep(Duration::from_secs(11)).await;
    let all = place.written();
    assert_eq!(all.len(), written, "{:?}", &all[written..]);
    assert!(place.asked().len() > asked, "it looked meanwhile");
}

/// The planned objects of optional kinds for a stored resource.
fn planned(resource: &Value) -> Vec<Object> {
    let resource: BackupKeyVault = serde_json::from_value(resource.clone()).unwrap();
    let fleet = validate(&resource).unwrap();
    let image = || "registry.example/image:1".to_owned();
    let settings = Settings {
        vault_image: image(),
        chatd_image: image(),
        postgres_image: image(),
        copier_image: image(),
        pull_policy: PullPolicy::IfNotPresent,
        version: "1.0.0".into(),
        operator_namespace: fleet.namespace.clone(),
    };
    let pinned =
        Pinned { vault_image: image(), copier_image: image(), pull_policy: PullPolicy::IfNotPresent };
    let journal = Journal {
        fleet: "00112233445566778899aabbccddeeff".into(),
        seed: fleet.regions[0].name.to_string(),
        pinned,
        stage: JournalStage::Initialised,
    };
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |file: &str| std::fs::read_to_string(root.join("monitoring").join(file)).unwrap();
    let embedded = Embedded::parse(&read("rules.yaml"), &read("dashboard.json")).unwrap();
    let content = Content { web_authority: Some("x".into()), ..Content::default() };
    let input = Input {
        fleet: &fleet,
        settings: &settings,
        journal: &journal,
        initialised: true,
        content: &content,
        embedded: &embedded,
        kinds: &Kind::known(|_| true),
    };
    let mut all = plan::objects(&input);
    all.retain(|o| o.kind.optional());
    all
}

/// Checks that the stored object has every planned field. The server drops unknown fields silently.
fn is_kept(planned: &Value, kept: &Value, place: &str) {
    match (planned, kept) {
        (Value::Object(planned), Value::Object(_)) => {
            for (key, value) in planned {
                is_kept(value, &kept[key], &format!("{place}.{key}"));
            }
        }
        (Value::Array(planned), Value::Array(all)) => {
            assert_eq!(planned.len(), all.len(), "{place}");
            for (n, value) in planned.iter().enumerate() {
                is_kept(value, &all[n], &format!("{place}[{n}]"));
            }
        }
        (planned, kept) => assert_eq!(planned, kept, "{place}"),
    }
}

/// The refusal by `--dry-run=server --validate=strict`, which refuses unknown fields. None if the server accepts.
fn refusal(place: &TestNamespace<'_>, object: &Value) -> Option<String> {
    let how = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
    let answer = place.server.kubectl_on(&how, object);
    (!answer.ok).then_some(answer.err)
}

/// Checks that the server accepts the planned object strictly, and refuses it with an unknown field or a wrong type anywhere.
async fn fits(place: &TestNamespace<'_>, object: &Object) {
    let name = format!("{} {}", object.kind, object.name);
    assert_eq!(refusal(place, &object.body), None, "{name}");
    let unknown = merged(&object.body, &json!({ "spec": { "nobodyKnowsThis": 1 } }));
    let words = refusal(place, &unknown).unwrap_or_else(|| panic!("{name}: an unknown field was taken"));
    assert!(words.contains("nobodyKnowsThis"), "{name}: {words}");
    let field = object.body["spec"].as_object().unwrap().keys().next().unwrap().clone();
    let wrong = merged(&object.body, &json!({ "spec": { field.as_str(): 7 } }));
    let words = refusal(place, &wrong).unwrap_or_else(|| panic!("{name}: a wrong `{field}` was taken"));
    assert!(words.contains(&field), "{name}: {words}");
    let live = place.until_there(object.kind.name(), &object.name).await;
    is_kept(&object.body["spec"], &live["spec"], &name);
    is_kept(&object.body["metadata"]["labels"], &live["metadata"]["labels"], &name);
}

fn everything() -> Value {
    json!({
        "chatd": { "expose": { "gateway": {
            "hostnames": ["vault.example.org"],
            "parentRefs": [{ "name": "public", "namespace": "gateways", "sectionName": "https" }],
        } }, "trustedProxies": ["10.0.8.0/24"] },
        "monitoring": { "podMonitor": true, "prometheusRule": true, "labels": { "release": "prometheus" } },
    })
}

fn kinds(objects: &[Object]) -> BTreeSet<&'static str> {
    objects.iter().map(|o| o.kind.name()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_fits_the_real_definition_and_goes_with_its_choice() {
    let place = TestNamespace::with(server().await, "known", &ALL).await;
    let operator = place.operator();
    place.made().await;
    let objects = planned(&place.demo(everything()).await);
    assert_eq!(
        kinds(&objects),
        ["HTTPRoute", "BackendTLSPolicy", "PodMonitor", "PrometheusRule"].into(),
        "the kinds that this test covers"
    );
    for object in &objects {
        fits(&place, object).await;
    }
    place.until_started().await;
    for check in ["KindUnknown", "RoleMissing", "ObjectRefused"] {
        assert_eq!(place.waits(check).await, Vec::<Value>::new());
    }
    rests(&place).await;
    // Each object that the spec no longer asks for is pruned.
    place.demo(merged(&everything(), &json!({ "monitoring": { "podMonitor": false } }))).await;
    place.until_gone("PodMonitor", "demo").await;
    assert!(place.get("PrometheusRule", "demo").await.is_some());
    place.demo(json!({})).await;
    for object in objects {
        place.until_gone(object.kind.name(), &object.name).await;
    }
    place.until_gone("ConfigMap", "demo-chatd-ca").await;
    assert!(place.get("Service", "demo-chatd").await.is_some());
    rests(&place).await;
    // The objects are created again, also by the next operator.
    place.demo(everything()).await;
    place.until_there("PodMonitor", "demo").await;
    place.until_there("BackendTLSPolicy", "demo-chatd").await;
    quiet(&place).await;
    let version = place.get("HTTPRoute", "demo-chatd").await.unwrap()["metadata"]["uid"].clone();
    drop(operator);
    let next = place.operator();
    place.eventually("a leader", 30, async || next.leads().then_some(()).ok_or(())).await;
    rests(&place).await;
    assert_eq!(place.get("HTTPRoute", "demo-chatd").await.unwrap()["metadata"]["uid"], version);
}

/// An alert or a scrape that matches nothing would go unnoticed.
#[tokio::test(flavor = "multi_thread")]
async fn the_monitor_selects_the_pods_that_are_made_and_the_rules_are_all_there() {
    let place = TestNamespace::with(server().await, "monitored", &ALL).await;
    let _operator = place.operator();
    place.made().await;
    place.demo(json!({ "monitoring": { "podMonitor": true, "prometheusRule": true } })).await;
    let monitor = place.until_there("PodMonitor", "demo").await["spec"].clone();
    for (kind, name) in [("StatefulSet", "demo-eu-west"), ("Deployment", "demo-chatd")] {
        let template = place.until_there(kind, name).await["spec"]["template"].clone();
        let labels = &template["metadata"]["labels"];
        for (key, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(labels[key], *value, "{name}");
        }
        let among = &monitor["selector"]["matchExpressions"][0];
        let label = &labels[among["key"].as_str().unwrap()];
        assert!(among["values"].as_array().unwrap().contains(label), "{name}: {label}");
        let port = &monitor["podMetricsEndpoints"][0]["port"];
        let ports = &template["spec"]["containers"][0]["ports"];
        assert!(ports.as_array().unwrap().iter().any(|p| p["name"] == *port), "{name}: {ports}");
    }
    let rule = place.until_there("PrometheusRule", "demo").await;
    let kept = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert!(kept.len() > 10 && kept.iter().all(|r| r["alert"].is_string() && r["expr"].is_string()));
}

/// The chart's values grant the rights. Without them the status names the missing value, and nothing else waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_reported_with_the_chart_value_that_grants_it() {
    let place = TestNamespace::on(server().await, "no-right").await;
    let operator = place.operator();
    place.made().await;
    place.demo(everything()).await;
    place.until_there("Deployment", "demo-chatd").await;
    place.until("Stalled", "True", "RoleMissing").await;
    let waits = place.waits("RoleMissing").await;
    for (kind, value) in [
        ("HTTPRoute", "integrations.gateway"),
        ("BackendTLSPolicy", "integrations.gateway"),
        ("PodMonitor", "integrations.prometheusOperator"),
        ("PrometheusRule", "integrations.prometheusOperator"),
    ] {
        let wait = waits.iter().find(|w| w["target"] == kind).unwrap_or_else(|| panic!("{kind}: {waits:?}"));
        assert!(wait["message"].as_str().unwrap().contains(value), "{wait}");
    }
    rests(&place).await;
    // A kind that is left out blocks nothing: the rest is still pruned.
    place.demo(merged(&everything(), &json!({ "networkPolicy": "None" }))).await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
    assert_eq!(
        operator.metric("bkv_operator_reconcile_errors_total", ""),
        Some(0.0),
        "{}",
        operator.log_text()
    );
}

/// The chart makes a monitor and alerts of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_charts_objects_of_these_kinds_fit_too() {
    let server = server().await;
    let mut check = std::process::Command::new(bkv_cluster_tests::project().join("charts/check.sh"));
    check.env("KUBECONFIG", server.folder().join("kubeconfig"));
    let report = tokio::task::block_in_place(|| CommandOutput::of(&mut check, None)).good();
    assert!(report.contains("objects judged by the API server: good"), "{report}");
    assert!(!report.contains("skipped"), "every kind is known here: {report}");
}
