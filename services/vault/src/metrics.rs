//! The vault's metrics. Labels are closed sets: never an account, a tenant or an address.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
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
    /// `bkv_vault_left_behind`
    pub(crate) left_behind: IntGauge,
    /// `bkv_vault_contradictions_total{sender}`
    pub(crate) contradictions: IntCounterVec,
    /// `bkv_vault_equivocators{sender}`
    pub(crate) equivocators: IntGaugeVec,
    /// `bkv_vault_keys_destroyed_total{cause}`
    pub(crate) destroyed: IntCounterVec,
    /// `bkv_vault_state_troubles_total{kind}`
    pub(crate) troubles: IntCounterVec,
    /// `bkv_vault_epoch_keys`
    pub(crate) epoch_keys: IntGauge,
    /// `bkv_vault_volume_free_bytes`
    pub(crate) volume_free: IntGauge,
    /// `bkv_vault_volume_full`
    pub(crate) volume_full: IntGauge,
    /// `bkv_vault_clock_skew_seconds`
    pub(crate) skew: IntGauge,
    /// `bkv_vault_volume_size_bytes`
    pub(crate) volume_size: IntGauge,
    /// `bkv_vault_peer_round_trip_seconds{region}`
    pub(crate) round_trip: GaugeVec,
    /// `bkv_vault_election_patience_seconds`
    pub(crate) patience: Gauge,
    /// `bkv_vault_call_limit_seconds`
    pub(crate) call_limit: Gauge,
    /// `bkv_vault_shards_configured`
    pub(crate) shards_configured: IntGauge,
    /// `bkv_certificate_not_after_timestamp_seconds{kind}`
    pub(crate) certificate: IntGaugeVec,
    /// `bkv_jwks_refreshed_timestamp_seconds`; absent before the first documents, because 0 would raise a false alarm.
    jwks: IntGaugeVec,
    /// `bkv_fleet_bundle_number`; absent before the first documents.
    bundle: IntGaugeVec,
}

impl Metrics {
    /// All metrics at zero. Fails only if two metrics have the same name.
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
            shards: gauges("bkv_vault_shards", "Shards of this vault by its role in them", &["role"])?,
            hsm_up: gauge("bkv_vault_hsm_up", "1 while the token answers")?,
            hsm_operations: counters(
                "bkv_vault_hsm_operations_total",
                "Operations on the token by outcome",
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
                "Shards that the vault does not serve, because its disk is outdated, t other regions have signed another state, or it is not on the admission list",
                &["reason"],
            )?,
            left_behind: gauge(
                "bkv_vault_left_behind",
                "Shards that the vault does not follow, because its program can't apply the version of the state in force",
            )?,
            contradictions: counters(
                "bkv_vault_contradictions_total",
                "Messages and answers of another region's vault that contradict this vault",
                &["sender"],
            )?,
            equivocators: gauges(
                "bkv_vault_equivocators",
                "Shards in which another region's vault is excluded, because it has signed two histories",
                &["sender"],
            )?,
            destroyed: counters(
                "bkv_vault_keys_destroyed_total",
                "Keys destroyed on this replica since its start",
                &["cause"],
            )?,
            troubles: counters(
                "bkv_vault_state_troubles_total",
                "Regions whose states differ, and snapshots that were refused or could not be sent",
                &["kind"],
            )?,
            epoch_keys: gauge("bkv_vault_epoch_keys", "Epoch keys in the token")?,
            volume_free: gauge("bkv_vault_volume_free_bytes", "Free space of the store's volume")?,
            volume_full: gauge(
                "bkv_vault_volume_full",
                "1 while the store's volume has less free space than must stay free",
            )?,
            skew: gauge(
                "bkv_vault_clock_skew_seconds",
                "The members' median clock minus this vault's clock",
            )?,
            volume_size: gauge("bkv_vault_volume_size_bytes", "Size of the store's volume")?,
            round_trip: keep(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "bkv_vault_peer_round_trip_seconds",
                        "Smoothed round trip to each other region",
                    ),
                    &["region"],
                )?,
            )?,
            patience: keep(
                &registry,
                Gauge::new(
                    "bkv_vault_election_patience_seconds",
                    "How long a follower waits for its leader before it asks for an election, at most",
                )?,
            )?,
            call_limit: keep(
                &registry,
                Gauge::new(
                    "bkv_vault_call_limit_seconds",
                    "Time limit of a call to another region during a recovery",
                )?,
            )?,
            shards_configured: gauge("bkv_vault_shards_configured", "Shards of the fleet")?,
            certificate: gauges(
                "bkv_certificate_not_after_timestamp_seconds",
                "When each link of the role certificate's chain expires",
                &["kind"],
            )?,
            jwks: gauges(
                "bkv_jwks_refreshed_timestamp_seconds",
                "When the issuer's keys were fetched last",
                &[],
            )?,
            bundle: gauges(
                "bkv_fleet_bundle_number",
                "Number of the admission list plus that of the policy: both only grow",
                &[],
            )?,
            registry,
        };
        Ok(m)
    }

    /// Registers a metric that another module keeps.
    pub fn also(&self, metric: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(metric))
    }

    /// Records when the issuer's keys were last fetched, in seconds since the Unix epoch.
    pub(crate) fn keys_refreshed(&self, at: u64) {
        self.jwks.with_label_values::<&str>(&[]).set(i64::try_from(at).unwrap_or(0));
    }

    /// Records the numbers of the documents in force.
    pub(crate) fn bundle(&self, admission: u64, policy: u64) {
        let number = i64::try_from(admission.saturating_add(policy)).unwrap_or(i64::MAX);
        self.bundle.with_label_values::<&str>(&[]).set(number);
    }

    /// Records when the certificates of the own chain expire.
    pub(crate) fn expiry(&self, expiry: bkv_mtls::Expiry) {
        let links = [("leaf", Some(expiry.leaf)), ("intermediate", expiry.intermediate), ("ca", expiry.ca)];
        for (kind, at) in links {
            match at {
                Some(at) => self.certificate.with_label_values(&[kind]).set(at),
                None => {
                    let _ = self.certificate.remove_label_values(&[kind]);
                }
            }
        }
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

/// Raises a counter to a value that another module counts.
pub(crate) fn catch_up(counter: &IntCounter, now: u64) {
    counter.inc_by(now.saturating_sub(counter.get()));
}
