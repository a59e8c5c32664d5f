//! Reads a pod, workload or volume claim from a watch: its state, region and component. Pure.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use kube::api::DynamicObject;

use super::pod::{PodSeen, pod_seen};
use super::workload::{ClaimSeen, WorkloadSeen, claim_seen, deployment_seen, stateful_set_seen};
use crate::kinds::Kind;
use crate::labels::{COMPONENT, REGION};

/// An object whose state is part of the fleet's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChildSeen {
    /// The region of its label. Only objects of a vault have one.
    pub region: Option<String>,
    /// The component of its label.
    pub component: Option<String>,
    /// Its state.
    pub child: Child,
}

/// Its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    /// A pod.
    Pod(PodSeen),
    /// A StatefulSet.
    Set(WorkloadSeen),
    /// A Deployment.
    Deployment(WorkloadSeen),
    /// A volume claim.
    Claim(ClaimSeen),
}

/// Reads an object. None if it is of another kind or can't be parsed.
pub(crate) fn child_seen(kind: Kind, object: DynamicObject) -> Option<ChildSeen> {
    let label = |name: &str| object.labels().get(name).cloned();
    let (region, component) = (label(REGION), label(COMPONENT));
    let child = match kind {
        Kind::Pod => Child::Pod(pod_seen(&object.try_parse::<Pod>().ok()?)),
        Kind::StatefulSet => Child::Set(stateful_set_seen(&object.try_parse::<StatefulSet>().ok()?)),
        Kind::Deployment => Child::Deployment(deployment_seen(&object.try_parse::<Deployment>().ok()?)),
        Kind::PersistentVolumeClaim => {
            Child::Claim(claim_seen(&object.try_parse::<PersistentVolumeClaim>().ok()?))
        }
        _ => return None,
    };
    Some(ChildSeen { region, component, child })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_watched_object_is_read_by_its_kind() {
        let object = |kind: Kind| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "v1", "kind": kind.name(),
                "metadata": { "name": "demo-a-0", "namespace": "n", "labels": { REGION: "a", COMPONENT: "vault" } },
                "spec": { "storageClassName": "fast" },
                "status": { "phase": "Bound" },
            }))
            .unwrap()
        };
        let claim = child_seen(Kind::PersistentVolumeClaim, object(Kind::PersistentVolumeClaim)).unwrap();
        assert_eq!((claim.region.as_deref(), claim.component.as_deref()), (Some("a"), Some("vault")));
        assert!(
            matches!(claim.child, Child::Claim(c) if c.bound && c.name == "demo-a-0" && c.class.as_deref() == Some("fast"))
        );
        assert!(child_seen(Kind::Service, object(Kind::Service)).is_none());
    }
}
