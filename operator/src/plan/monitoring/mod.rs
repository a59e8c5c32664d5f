//! Objects for Prometheus and Grafana, if the cluster knows their kinds.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{Input, Object, hash};
use crate::kinds::Kind;
use crate::part::{Component, Part};

pub(super) fn objects(input: &Input<'_>) -> Vec<Object> {
    let (asked, kinds) = (&input.fleet.monitoring, input.kinds);
    let monitor = (asked.pod_monitor && kinds.contains(&Kind::PodMonitor)).then(|| pod_monitor(input));
    let rule =
        (asked.prometheus_rule && kinds.contains(&Kind::PrometheusRule)).then(|| prometheus_rule(input));
    let dashboard = asked.dashboard.then(|| dashboard(input));
    monitor.into_iter().chain(rule).chain(dashboard).collect()
}

/// Scrapes vaults and ChatD with the labels that the alerts use: `job`, `bkv`, `component`, `region`.
fn pod_monitor(input: &Input<'_>) -> Object {
    let part = Part::of(input.fleet, Component::Fleet);
    let component = "__meta_kubernetes_pod_label_app_kubernetes_io_component";
    let relabel = |source: &str, target: &str| json!({ "action": "replace", "sourceLabels": [source], "targetLabel": target });
    let spec = json!({
        "namespaceSelector": { "matchNames": [input.fleet.namespace] },
        "selector": {
            "matchLabels": { "app.kubernetes.io/name": "bkv", (crate::labels::VAULT): input.fleet.name.as_str() },
            "matchExpressions": [{
                "key": "app.kubernetes.io/component",
                "operator": "In",
                "values": [Component::Chatd.name(), Component::Vault.name()],
            }],
        },
        "podMetricsEndpoints": [{
            "port": "health",
            "path": "/metrics",
            "interval": "30s",
            "relabelings": [
                relabel("__meta_kubernetes_pod_label_bkv_dev_vault", "bkv"),
                relabel("__meta_kubernetes_pod_label_bkv_dev_region", "region"),
                relabel(component, "component"),
                {
                    "action": "replace",
                    "sourceLabels": [component],
                    "replacement": "bkv-$1",
                    "targetLabel": "job",
                },
            ],
        }],
    });
    custom(input, part, Kind::PodMonitor, &spec)
}

fn prometheus_rule(input: &Input<'_>) -> Object {
    let part = Part::of(input.fleet, Component::Fleet);
    custom(input, part, Kind::PrometheusRule, &json!({ "groups": [input.embedded.group] }))
}

fn custom(input: &Input<'_>, part: Part<'_>, kind: Kind, spec: &Value) -> Object {
    let name = input.fleet.names().fleet();
    let metadata = part.owned_json(&name, &input.fleet.monitoring.labels);
    Object::of(kind, name, &json!({ "metadata": metadata, "spec": spec }))
}

fn dashboard(input: &Input<'_>) -> Object {
    let name = input.fleet.names().dashboard();
    let mut metadata = Part::of(input.fleet, Component::Fleet).owned(&name);
    let labels = metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.extend(input.fleet.monitoring.labels.clone());
    labels.insert("grafana_dashboard".into(), "1".into());
    let mut dashboard = input.embedded.dashboard.clone();
    // Grafana keeps one dashboard for each uid. With a shared uid, a second fleet's dashboard would replace the first one's.
    let fleet = (&input.fleet.namespace, input.fleet.name.as_str());
    dashboard.insert("uid".into(), json!(format!("bkv-{}", hash::of(&fleet))));
    if let Some(title) = dashboard.get("title").and_then(Value::as_str) {
        let title = format!("{title} · {}/{}", fleet.0, fleet.1);
        dashboard.insert("title".into(), json!(title));
    }
    let file = format!("bkv-{}-{}.json", input.fleet.namespace, input.fleet.name);
    let data = [(file, format!("{:#}\n", Value::Object(dashboard)))];
    let map = ConfigMap { metadata, data: Some(data.into()), ..ConfigMap::default() };
    Object::of(Kind::ConfigMap, name, &map)
}
