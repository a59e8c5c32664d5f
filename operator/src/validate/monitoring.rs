//! What is made for Prometheus and Grafana.

use std::collections::BTreeMap;

use super::metadata::labels;
use super::names;
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource as spec;

/// What is made for Prometheus and Grafana.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Monitoring {
    /// A PodMonitor.
    pub pod_monitor: bool,
    /// A PrometheusRule.
    pub prometheus_rule: bool,
    /// A dashboard.
    pub dashboard: bool,
    /// More labels.
    pub labels: BTreeMap<String, String>,
}

pub(super) fn monitoring(given: &spec::Monitoring, refusals: &mut Refusals) -> Monitoring {
    let labels = labels(given.labels.as_ref(), "spec.monitoring.labels", refusals);
    for key in labels.keys() {
        // The operator's own selectors use these labels.
        let ours = key.starts_with("bkv.dev/") || key.starts_with("app.kubernetes.io/");
        refusals.want(
            !ours && names::qualified(key),
            "spec.monitoring.labels",
            Reason::Conflict,
            "must not begin with bkv.dev/ or app.kubernetes.io/: the operator sets those",
        );
    }
    Monitoring {
        pod_monitor: given.pod_monitor,
        prometheus_rule: given.prometheus_rule,
        dashboard: given.dashboard,
        labels,
    }
}
