//! Findings become conditions. A condition keeps its time while its status stays the same.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as StatusCondition, Time};

use crate::conditions::{Check, Condition, Reason, Status};

/// A message longer than this is cut: it is for people.
const MESSAGE: usize = 2_000;

/// A condition as it should be now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its type.
    pub condition: Condition,
    /// Its status.
    pub status: Status,
    /// The name of a reason or of a check.
    pub reason: &'static str,
    /// Why it has this status, for people.
    pub message: String,
}

impl Finding {
    /// The condition and status that belong to `reason`.
    pub(super) fn of(reason: Reason, message: impl Into<String>) -> Self {
        let (condition, status) = (reason.condition(), reason.status());
        Self { condition, status, reason: reason.name(), message: message.into() }
    }

    /// A condition that has its status because of `check`.
    pub(super) fn because_of(
        check: Check,
        condition: Condition,
        status: Status,
        message: impl Into<String>,
    ) -> Self {
        Self { condition, status, reason: check.name(), message: message.into() }
    }

    /// `Stalled`, for the reason that made `Accepted` False.
    pub(super) fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            condition: Condition::Stalled,
            status: Status::True,
            reason: reason.name(),
            message: message.into(),
        }
    }
}

/// Findings as conditions. A condition without a finding is dropped.
pub(super) fn merge(
    before: &[StatusCondition],
    findings: Vec<Finding>,
    generation: Option<i64>,
    now: &Time,
) -> Vec<StatusCondition> {
    findings
        .into_iter()
        .map(|f| {
            let old = before.iter().find(|c| c.type_ == f.condition.name());
            let since = old.filter(|c| c.status == f.status.name()).map(|c| c.last_transition_time.clone());
            StatusCondition {
                type_: f.condition.name().to_owned(),
                status: f.status.name().to_owned(),
                reason: f.reason.to_owned(),
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
        let first = merge(&[], vec![Finding::of(Reason::Bootstrapping, "a")], Some(1), &at(10));
        let second = merge(&first, vec![Finding::of(Reason::NoMajority, "b")], Some(2), &at(20));
        assert_eq!(
            (second[0].last_transition_time.clone(), second[0].reason.as_str()),
            (at(10), "NoMajority")
        );
        let third = merge(&second, vec![Finding::of(Reason::Serving, "")], Some(2), &at(30));
        assert_eq!(third[0].last_transition_time, at(30));
        assert!(merge(&third, Vec::new(), Some(2), &at(40)).is_empty());
    }
}
