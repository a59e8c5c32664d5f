//! The status of a fleet whose ConfigMaps or workloads the operator could not read. Known values stay, and the conditions report why.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::finding::{Finding, merge};
use super::waits::waits;
use crate::conditions::{Condition, Reason, Status, Trouble};
use crate::resource::BackupKeyVaultStatus;

/// The status, given the one before.
pub(super) fn status(
    before: &BackupKeyVaultStatus,
    generation: i64,
    trouble: &Trouble,
    now: &Time,
) -> BackupKeyVaultStatus {
    let (check, message) = (trouble.check, trouble.message.clone());
    // A fleet that existed may still serve. One that never existed does not.
    let ready = if before.fleet.is_some() { Status::Unknown } else { Status::False };
    let findings = vec![
        Finding::of(Reason::Accepted, "the spec is valid"),
        Finding::because_of(check, Condition::Ready, ready, message.clone()),
        Finding::because_of(
            check,
            Condition::Reconciling,
            Status::False,
            "the operator changes nothing until it can read the fleet's objects",
        ),
        Finding::because_of(check, Condition::Stalled, Status::True, message),
    ];
    let mut conditions = merge(&before.conditions, findings, Some(generation), now);
    let others = before.conditions.iter().filter(|c| !conditions.iter().any(|n| n.type_ == c.type_));
    let others: Vec<_> = others.cloned().collect();
    conditions.extend(others);
    BackupKeyVaultStatus {
        observed_generation: Some(generation),
        phase: before.phase.clone().or_else(|| Some("Pending".to_owned())),
        conditions,
        waits: waits(before, std::slice::from_ref(trouble), now),
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::conditions::Check;

    #[test]
    fn what_was_known_stays_and_the_trouble_is_reported_the_same_way_each_time() {
        let at = |s| Time(Timestamp::from_second(s).unwrap());
        let trouble = Trouble::new(Check::NameCollision, "ConfigMap demo-fleet", "theirs");
        let first = status(&BackupKeyVaultStatus::default(), 1, &trouble, &at(10));
        assert_eq!(first, status(&first, 1, &trouble, &at(20)), "nothing is written at rest");
        let of = |s: &BackupKeyVaultStatus, kind: &str| {
            let c = s.conditions.iter().find(|c| c.type_ == kind).unwrap();
            (c.status.clone(), c.reason.clone())
        };
        assert_eq!(of(&first, "Ready"), ("False".into(), "NameCollision".into()));
        assert_eq!(of(&first, "Stalled"), ("True".into(), "NameCollision".into()));
        let mut seen = first.clone();
        seen.fleet = Some(crate::resource::status::FleetStatus::default());
        seen.conditions.extend(merge(&[], vec![Finding::of(Reason::AllInSync, "")], Some(1), &at(5)));
        let after = status(&seen, 2, &trouble, &at(20));
        assert_eq!(of(&after, "Ready").0, "Unknown");
        assert_eq!(of(&after, "QuorumHealthy").0, "True");
    }
}
