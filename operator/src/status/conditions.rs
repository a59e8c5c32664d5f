//! Conditions: types and reasons are constants, and a condition keeps its time while nothing about it changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The spec can be carried out.
pub const ACCEPTED: &str = "Accepted";
/// People can register and recover.
pub const READY: &str = "Ready";
/// Something is being done or waited for.
pub const RECONCILING: &str = "Reconciling";
/// Something is waited for that does not come by itself.
pub const STALLED: &str = "Stalled";
/// The fleet was made.
pub const FLEET_INITIALIZED: &str = "FleetInitialized";
/// A majority of regions is in sync.
pub const QUORUM_HEALTHY: &str = "QuorumHealthy";
/// Every token works.
pub const HSM_READY: &str = "HsmReady";
/// Every certificate is there and valid for long enough.
pub const CERTIFICATES_VALID: &str = "CertificatesValid";
/// Every volume is there.
pub const STORAGE_READY: &str = "StorageReady";
/// ChatD's database is there.
pub const POSTGRES_READY: &str = "PostgresReady";
/// ChatD serves.
pub const CHATD_READY: &str = "ChatdReady";
/// Nothing about it is for tests only. For information.
pub const PRODUCTION_READY: &str = "ProductionReady";

/// All types, for metrics and docs.
pub const TYPES: [&str; 12] = [
    ACCEPTED,
    READY,
    RECONCILING,
    STALLED,
    FLEET_INITIALIZED,
    QUORUM_HEALTHY,
    HSM_READY,
    CERTIFICATES_VALID,
    STORAGE_READY,
    POSTGRES_READY,
    CHATD_READY,
    PRODUCTION_READY,
];

/// A message longer than this is cut: it is for people.
const MESSAGE: usize = 2_000;

/// A condition as it should be now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its type.
    pub kind: &'static str,
    /// True, False or Unknown.
    pub status: &'static str,
    /// Why, as a constant.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

impl Finding {
    /// It holds.
    pub fn yes(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, status: "True", reason: reason.to_owned(), message: message.into() }
    }

    /// It does not.
    pub fn no(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, status: "False", reason: reason.to_owned(), message: message.into() }
    }

    /// It is not known.
    pub fn unknown(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, status: "Unknown", reason: reason.to_owned(), message: message.into() }
    }
}

/// Findings as conditions. Types that are not found any more go.
pub fn merge(
    before: &[Condition],
    findings: Vec<Finding>,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    findings
        .into_iter()
        .map(|f| {
            let old = before.iter().find(|c| c.type_ == f.kind);
            let since = old.filter(|c| c.status == f.status).map(|c| c.last_transition_time.clone());
            Condition {
                type_: f.kind.to_owned(),
                status: f.status.to_owned(),
                reason: f.reason,
                message: f.message.chars().take(MESSAGE).collect(),
                observed_generation: generation,
                last_transition_time: since.unwrap_or_else(|| now.clone()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let at = |s| Time(Timestamp::from_second(s).unwrap());
        let first = merge(&[], vec![Finding::no(READY, "Starting", "a")], Some(1), &at(10));
        let second = merge(&first, vec![Finding::no(READY, "Waiting", "b")], Some(2), &at(20));
        assert_eq!((second[0].last_transition_time.clone(), second[0].reason.as_str()), (at(10), "Waiting"));
        let third = merge(&second, vec![Finding::yes(READY, "Serving", "")], Some(2), &at(30));
        assert_eq!(third[0].last_transition_time, at(30));
        assert!(merge(&third, Vec::new(), Some(2), &at(40)).is_empty());
    }
}
