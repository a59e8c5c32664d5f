//! What a monitoring system may see. Labels are closed sets: never an account, a tenant or an address.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

/// The vault's metrics.
pub struct Metrics {
    registry: Registry,
    /// `bkv_vault_requests_total{op,outcome}`
    pub(crate) requests: IntCounterVec,
    /// `bkv_vault_request_duration_seconds{op}`
    pub(crate) duration: HistogramVec,
    /// `bkv_vault_shards{role}`
    pub(crate) shards: IntGaugeVec,
    /// `bkv_vault_hsm_up`
    pub(crate) hsm_up: IntGaugeVec,
    /// `bkv_vault_quarantined{reason}`
    pub(crate) quarantined: IntGaugeVec,
    /// `bkv_vault_clock_skew_seconds`
    pub(crate) skew: IntGaugeVec,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let g = IntGaugeVec::new(Opts::new(name, help), labels).unwrap_or_else(|_| unreachable_gauge());
            let _ = registry.register(Box::new(g.clone()));
            g
        };
        let shards = gauge("bkv_vault_shards", "Shards of this vault by what it is in them", &["role"]);
        let hsm_up = gauge("bkv_vault_hsm_up", "1 while the token answers", &["token"]);
        let quarantined =
            gauge("bkv_vault_quarantined", "Shards that are not served from this disk", &["reason"]);
        let skew = gauge("bkv_vault_clock_skew_seconds", "This clock against the peers' median", &["of"]);
        let requests = IntCounterVec::new(
            Opts::new("bkv_vault_requests_total", "Requests by operation and outcome"),
            &["op", "outcome"],
        )
        .unwrap_or_else(|_| unreachable_counter());
        let duration = HistogramVec::new(
            HistogramOpts::new("bkv_vault_request_duration_seconds", "Time to answer"),
            &["op"],
        )
        .unwrap_or_else(|_| unreachable_histogram());
        let _ = registry.register(Box::new(requests.clone()));
        let _ = registry.register(Box::new(duration.clone()));
        Self { registry, requests, duration, shards, hsm_up, quarantined, skew }
    }
}

// Names and labels above are valid, so these are never called; a metric that can't be made must not keep a vault from serving.
fn unreachable_gauge() -> IntGaugeVec {
    IntGaugeVec::new(Opts::new("bkv_vault_unnamed", "unnamed"), &[]).unwrap_or_else(|_| std::process::abort())
}
fn unreachable_counter() -> IntCounterVec {
    IntCounterVec::new(Opts::new("bkv_vault_unnamed", "unnamed"), &[])
        .unwrap_or_else(|_| std::process::abort())
}
fn unreachable_histogram() -> HistogramVec {
    HistogramVec::new(HistogramOpts::new("bkv_vault_unnamed", "unnamed"), &[])
        .unwrap_or_else(|_| std::process::abort())
}

impl Metrics {
    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
