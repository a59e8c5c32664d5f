//! Monitoring and network policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::Labels;

/// What is made for Prometheus and Grafana. A kind that the cluster does not know is said in a condition, and is no error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitoring {
    /// Make a PodMonitor, so that Prometheus reads the metrics of vaults and ChatD.
    #[serde(default)]
    pub pod_monitor: bool,
    /// Make a PrometheusRule with the alerts.
    #[serde(default)]
    pub prometheus_rule: bool,
    /// Make a ConfigMap with the Grafana dashboard, labelled `grafana_dashboard: "1"`.
    #[serde(default)]
    pub dashboard: bool,
    /// More labels on these objects, for whoever selects them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 8))]
    pub labels: Option<Labels>,
}

/// Whether the operator makes NetworkPolicies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// Only the parts that must talk to each other can, where the cluster's network enforces it.
    #[default]
    Managed,
    /// None.
    None,
}
