//! Monitoring and network policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::Labels;

/// Objects for Prometheus and Grafana. If the cluster does not know a kind, the wait `KindUnknown` reports it and everything else goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitoring {
    /// Create a PodMonitor, so that Prometheus scrapes vaults and ChatD.
    #[serde(default)]
    pub pod_monitor: bool,
    /// Create a PrometheusRule with the alerts.
    #[serde(default)]
    pub prometheus_rule: bool,
    /// Create a ConfigMap with the Grafana dashboard, labelled `grafana_dashboard: "1"`.
    #[serde(default)]
    pub dashboard: bool,
    /// More labels for these objects, if your Prometheus or Grafana selects by labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 8))]
    pub labels: Option<Labels>,
}

/// Whether the operator creates NetworkPolicies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// The operator creates NetworkPolicies that allow only the connections that the parts need.
    #[default]
    Managed,
    /// The operator creates no NetworkPolicies.
    None,
}
