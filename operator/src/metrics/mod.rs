//! The operator's own metrics. Labels are closed sets, and the resource's namespace and name.

mod fleets;

use prometheus::{IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::resource::BackupKeyVaultStatus;
use fleets::Fleets;

/// The operator's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    fleets: Fleets,
    /// 1 while this replica holds the lease.
    pub leader: IntGauge,
    /// Passes that failed, by step.
    pub errors: IntCounterVec,
    /// Requests to the API server that may write, by resource.
    pub writes: IntCounterVec,
}

impl Metrics {
    /// Registers the metrics. No resource has a series yet.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let leader = IntGauge::new("bkv_operator_leader", "1 while this replica holds the lease and writes")?;
        registry.register(Box::new(leader.clone()))?;
        let errors = IntCounterVec::new(
            Opts::new("bkv_operator_reconcile_errors_total", "Passes that failed, by step"),
            &["step"],
        )?;
        registry.register(Box::new(errors.clone()))?;
        let writes = IntCounterVec::new(
            Opts::new("bkv_operator_writes_total", "Requests to the API server that may write, by resource"),
            &["resource"],
        )?;
        registry.register(Box::new(writes.clone()))?;
        Ok(Self { registry, fleets: Fleets::default(), leader, errors, writes })
    }

    /// Records a resource's status after a pass.
    pub fn show(&self, namespace: &str, name: &str, status: &BackupKeyVaultStatus) {
        self.fleets.show(namespace, name, status);
    }

    /// Drops the series of a deleted resource.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.fleets.forget(namespace, name);
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default();
        self.fleets.write(&mut text);
        text
    }
}
