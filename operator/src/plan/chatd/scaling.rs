//! ChatD's autoscaler and disruption budget.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::{Input, Object};
use crate::kinds::Kind;
use crate::part::Part;
use crate::validate::Scaling;

pub(super) fn autoscaler(input: &Input<'_>, part: Part<'_>) -> Option<Object> {
    let Scaling::Automatic { least, most, cpu } = input.fleet.chatd.scaling else { return None };
    let name = input.fleet.names().chatd();
    let autoscaler = HorizontalPodAutoscaler {
        metadata: part.owned(&name),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name: name.clone(),
            },
            min_replicas: Some(least),
            max_replicas: most,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".into(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".into(),
                    target: MetricTarget {
                        type_: "Utilization".into(),
                        average_utilization: Some(cpu),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            behavior: None,
        },
        status: None,
    };
    Some(Object::of(Kind::HorizontalPodAutoscaler, name, &autoscaler))
}

/// A budget of one pod at a time. A single pod has no budget, because its node could never be drained.
pub(super) fn budget(input: &Input<'_>, part: Part<'_>) -> Option<Object> {
    let least = match input.fleet.chatd.scaling {
        Scaling::Replicas(replicas) => replicas,
        Scaling::Automatic { least, .. } => least,
    };
    if least < 2 {
        return None;
    }
    let name = input.fleet.names().chatd();
    let budget = PodDisruptionBudget {
        metadata: part.owned(&name),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(part.label_selector()),
            // ChatD has no state, so a pod that can't start must not block a drain of its node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    };
    Some(Object::of(Kind::PodDisruptionBudget, name, &budget))
}
