//! The operator's own metrics. Labels are closed sets, and the resource's namespace and name.

use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::resource::BackupKeyVaultStatus;
use crate::status::conditions::TYPES;

/// Namespace and resource, on everything that is about one.
const RESOURCE: [&str; 2] = ["namespace", "bkv"];

/// All of them. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// 1 while this replica writes.
    pub leader: IntGauge,
    condition: IntGaugeVec,
    waits: IntGaugeVec,
    quorum: [IntGaugeVec; 4],
    certificates: GaugeVec,
    /// Passes that failed, by step.
    pub errors: IntCounterVec,
    /// Requests to the API server that may write, by resource.
    pub writes: IntCounterVec,
    checks: std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<(String, String, String)>>>,
}

fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    more: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let labels: Vec<&str> = RESOURCE.iter().chain(more).copied().collect();
    let gauge = IntGaugeVec::new(Opts::new(name, help), &labels)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

impl Metrics {
    /// A registry with all of them.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let leader = IntGauge::new("bkv_operator_leader", "1 while this replica holds the lease and writes")?;
        registry.register(Box::new(leader.clone()))?;
        let certificates = GaugeVec::new(
            Opts::new(
                "bkv_certificate_not_after_timestamp_seconds",
                "When the first certificate of its kind ends",
            ),
            &["namespace", "bkv", "kind"],
        )?;
        registry.register(Box::new(certificates.clone()))?;
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
        Ok(Self {
            leader,
            condition: gauge(
                &registry,
                "bkv_operator_condition",
                "1 while the condition is True",
                &["type"],
            )?,
            waits: gauge(&registry, "bkv_operator_waits", "What is waited for, by check", &["check"])?,
            quorum: [
                gauge(&registry, "bkv_operator_quorum_voters", "Regions that vote", &[])?,
                gauge(&registry, "bkv_operator_quorum_required", "A majority of them", &[])?,
                gauge(&registry, "bkv_operator_quorum_in_sync", "Regions that are up and verified", &[])?,
                gauge(&registry, "bkv_operator_quorum_tolerates", "Regions that may still be lost", &[])?,
            ],
            certificates,
            errors,
            writes,
            checks: std::sync::Arc::default(),
            registry,
        })
    }

    /// What a pass found.
    pub fn show(&self, namespace: &str, name: &str, status: &BackupKeyVaultStatus) {
        for kind in TYPES {
            let holds = status.conditions.iter().any(|c| c.type_ == kind && c.status == "True");
            let known = status.conditions.iter().any(|c| c.type_ == kind);
            if known {
                self.condition.with_label_values(&[namespace, name, kind]).set(holds.into());
            } else {
                let _ = self.condition.remove_label_values(&[namespace, name, kind]);
            }
        }
        let mut checks = self.checks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (_, _, check) in checks.iter().filter(|(n, b, _)| n == namespace && b == name) {
            self.waits.with_label_values(&[namespace, name, check]).set(0);
        }
        for wait in &status.waits {
            checks.insert((namespace.to_owned(), name.to_owned(), wait.check.clone()));
            self.waits.with_label_values(&[namespace, name, wait.check.as_str()]).inc();
        }
        drop(checks);
        if let Some(q) = status.quorum {
            for (gauge, n) in self.quorum.iter().zip([q.voters, q.required, q.in_sync, q.tolerates]) {
                gauge.with_label_values(&[namespace, name]).set(n.into());
            }
        }
        for (kind, label) in [("Leaf", "leaf"), ("Authority", "ca")] {
            let first = status
                .certificates
                .iter()
                .filter(|c| c.kind == kind)
                .map(|c| c.not_after.0.as_second())
                .min();
            if let Some(first) = first {
                #[allow(clippy::cast_precision_loss)] // seconds since 1970
                self.certificates.with_label_values(&[namespace, name, label]).set(first as f64);
            }
        }
    }

    /// A resource is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        for kind in TYPES {
            let _ = self.condition.remove_label_values(&[namespace, name, kind]);
        }
        let mut checks = self.checks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        checks.retain(|(n, b, check)| {
            let gone = n == namespace && b == name;
            if gone {
                let _ = self.waits.remove_label_values(&[namespace, name, check]);
            }
            !gone
        });
        drop(checks);
        for gauge in &self.quorum {
            let _ = gauge.remove_label_values(&[namespace, name]);
        }
        for label in ["leaf", "ca"] {
            let _ = self.certificates.remove_label_values(&[namespace, name, label]);
        }
    }

    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
