//! The fleet's disruption budget.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::{Input, Object};
use crate::kinds::Kind;
use crate::part::{Component, Part};

/// One budget for the whole fleet: one per region would allow the eviction of all regions at once. `minAvailable` and not `maxUnavailable`, because an
/// evicted pod that can't return must count as missing. A fleet of one region has no budget, or its node could never be drained.
pub(in super::super) fn budget(input: &Input<'_>) -> Option<Object> {
    let voters = i32::try_from(input.fleet.regions.len()).unwrap_or(i32::MAX);
    if voters < 2 {
        return None;
    }
    let name = input.fleet.names().fleet();
    let part = Part::of(input.fleet, Component::Vault);
    let budget = PodDisruptionBudget {
        metadata: part.owned(&name),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(voters - 1)),
            selector: Some(part.label_selector()),
            // A running vault that is not in sync may hold entries that others lack, so the budget must also protect it.
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    };
    Some(Object::of(Kind::PodDisruptionBudget, name, &budget))
}
