//! ChatD's metrics. Labels are closed sets: never an account or an address.

use bkv_mtls::Expiry;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

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
    /// `bkv_certificate_not_after_timestamp_seconds{kind}`
    certificate: IntGaugeVec,
    /// `bkv_fleet_bundle_number`; absent before the first bundle.
    bundle: IntGaugeVec,
}

impl Metrics {
    /// All metrics at zero. Fails only if two metrics have the same name.
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
            certificate: IntGaugeVec::new(
                Opts::new(
                    "bkv_certificate_not_after_timestamp_seconds",
                    "When each link of the role certificate's and of the public certificate's chain expires",
                ),
                &["kind"],
            )?,
            bundle: IntGaugeVec::new(
                Opts::new(
                    "bkv_fleet_bundle_number",
                    "Number of the admission list plus that of the policy: both only grow",
                ),
                &[],
            )?,
        };
        m.registry.register(Box::new(m.connections.clone()))?;
        m.registry.register(Box::new(m.relays.clone()))?;
        m.registry.register(Box::new(m.failures.clone()))?;
        m.registry.register(Box::new(m.postgres_up.clone()))?;
        m.registry.register(Box::new(m.lag.clone()))?;
        m.registry.register(Box::new(m.jwks.clone()))?;
        m.registry.register(Box::new(m.certificate.clone()))?;
        m.registry.register(Box::new(m.bundle.clone()))?;
        Ok(m)
    }

    /// Records when the certificates of both chains expire.
    pub fn expiry(&self, role: Expiry, web: Expiry) {
        let links = [
            ("leaf", Some(role.leaf)),
            ("intermediate", role.intermediate),
            ("ca", role.ca),
            ("web_leaf", Some(web.leaf)),
            ("web_intermediate", web.intermediate),
        ];
        for (kind, at) in links {
            match at {
                Some(at) => self.certificate.with_label_values(&[kind]).set(at),
                None => {
                    let _ = self.certificate.remove_label_values(&[kind]);
                }
            }
        }
    }

    /// Records the number of the bundle that clients get.
    pub fn bundle(&self, number: u64) {
        self.bundle.with_label_values::<&str>(&[]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
