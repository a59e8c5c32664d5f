//! What a monitoring system may see. Labels are closed sets: never an account, a tenant or an address.

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

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
    pub(crate) hsm_up: IntGauge,
    /// `bkv_vault_hsm_operations_total{op,outcome}`
    pub(crate) hsm_operations: IntCounterVec,
    /// `bkv_vault_elections_total`
    pub(crate) elections: IntCounter,
    /// `bkv_vault_quarantined{reason}`
    pub(crate) quarantined: IntGaugeVec,
    /// `bkv_vault_keys_destroyed_total{cause}`
    pub(crate) destroyed: IntCounterVec,
    /// `bkv_vault_epoch_keys`
    pub(crate) epoch_keys: IntGauge,
    /// `bkv_vault_volume_free_bytes`
    pub(crate) volume_free: IntGauge,
    /// `bkv_vault_clock_skew_seconds`
    pub(crate) skew: IntGauge,
    /// `bkv_certificate_not_after_timestamp_seconds`
    pub(crate) certificate: IntGauge,
    /// `bkv_jwks_refreshed_timestamp_seconds`
    pub(crate) jwks: IntGauge,
}

impl Metrics {
    /// All at zero. Fails only if two of them have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| keep(&registry, IntGauge::new(name, help)?);
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            keep(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            keep(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let m = Self {
            requests: counters(
                "bkv_vault_requests_total",
                "Requests by operation and outcome",
                &["op", "outcome"],
            )?,
            duration: keep(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("bkv_vault_request_duration_seconds", "Time to answer"),
                    &["op"],
                )?,
            )?,
            shards: gauges("bkv_vault_shards", "Shards of this vault by what it is in them", &["role"])?,
            hsm_up: gauge("bkv_vault_hsm_up", "1 while the token answers")?,
            hsm_operations: counters(
                "bkv_vault_hsm_operations_total",
                "What was asked of the token, and how it ended",
                &["op", "outcome"],
            )?,
            elections: keep(
                &registry,
                IntCounter::new(
                    "bkv_vault_elections_total",
                    "How often this vault became leader of a shard",
                )?,
            )?,
            quarantined: gauges(
                "bkv_vault_quarantined",
                "Shards that are not served: their disk is older than the vault, or histories differ",
                &["reason"],
            )?,
            destroyed: counters(
                "bkv_vault_keys_destroyed_total",
                "Keys that ended on this replica since it started",
                &["cause"],
            )?,
            epoch_keys: gauge("bkv_vault_epoch_keys", "Epoch keys in the token")?,
            volume_free: gauge("bkv_vault_volume_free_bytes", "Free space of the store's volume")?,
            skew: gauge("bkv_vault_clock_skew_seconds", "The peers' median clock less this vault's")?,
            certificate: gauge(
                "bkv_certificate_not_after_timestamp_seconds",
                "When the role certificate's chain expires",
            )?,
            jwks: gauge("bkv_jwks_refreshed_timestamp_seconds", "When the issuer's keys were fetched last")?,
            registry,
        };
        Ok(m)
    }

    /// A metric that is kept elsewhere.
    pub fn also(&self, metric: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(metric))
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

fn keep<T: Collector + Clone + 'static>(registry: &Registry, metric: T) -> Result<T, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Sets a counter that is counted elsewhere.
pub(crate) fn catch_up(counter: &IntCounter, now: u64) {
    counter.inc_by(now.saturating_sub(counter.get()));
}
