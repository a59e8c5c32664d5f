//! What a monitoring system may see. Labels are closed sets: never an account or an address.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// ChatD's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// `bkv_chatd_connections`
    pub connections: IntGauge,
    /// `bkv_chatd_relays_total`
    pub relays: IntCounter,
    /// `bkv_chatd_relay_failures_total{reason}`
    pub failures: IntCounterVec,
    /// `bkv_chatd_postgres_up`
    pub postgres_up: IntGauge,
    /// `bkv_chatd_projection_lag_seconds`
    pub lag: IntGauge,
    /// `bkv_jwks_refreshed_timestamp_seconds`
    pub jwks: IntGauge,
    /// `bkv_certificate_not_after_timestamp_seconds`
    pub certificate: IntGauge,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let m = Self {
            registry: Registry::new(),
            connections: IntGauge::new("bkv_chatd_connections", "Clients connected")?,
            relays: IntCounter::new("bkv_chatd_relays_total", "Streams relayed")?,
            failures: IntCounterVec::new(
                Opts::new("bkv_chatd_relay_failures_total", "Streams that ended otherwise than in order"),
                &["reason"],
            )?,
            postgres_up: IntGauge::new("bkv_chatd_postgres_up", "1 while the database answers")?,
            lag: IntGauge::new(
                "bkv_chatd_projection_lag_seconds",
                "Seconds for which some shard's events were not followed up to the newest; 0 while all are",
            )?,
            jwks: IntGauge::new(
                "bkv_jwks_refreshed_timestamp_seconds",
                "When the issuer's keys were fetched last",
            )?,
            certificate: IntGauge::new(
                "bkv_certificate_not_after_timestamp_seconds",
                "When the first certificate expires",
            )?,
        };
        m.registry.register(Box::new(m.connections.clone()))?;
        m.registry.register(Box::new(m.relays.clone()))?;
        m.registry.register(Box::new(m.failures.clone()))?;
        m.registry.register(Box::new(m.postgres_up.clone()))?;
        m.registry.register(Box::new(m.lag.clone()))?;
        m.registry.register(Box::new(m.jwks.clone()))?;
        m.registry.register(Box::new(m.certificate.clone()))?;
        Ok(m)
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
