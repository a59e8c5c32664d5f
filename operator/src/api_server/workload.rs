//! Workloads and volume claims. Pure.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::labels::TEMPLATE_HASH;

/// A StatefulSet or Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkloadSeen {
    /// Pods wanted.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that exist.
    pub exist: i32,
    /// Hash of its pod template.
    pub template_hash: Option<String>,
    /// Image of its first container.
    pub image: Option<String>,
    /// Why its controller can't make pods: quota, admission.
    pub failure: Option<String>,
}

/// Reads a StatefulSet.
pub(crate) fn stateful_set_seen(set: &StatefulSet) -> WorkloadSeen {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let image = spec.template.spec.as_ref().and_then(|p| p.containers.first()?.image.clone());
    let notes = spec.template.metadata.and_then(|m| m.annotations);
    WorkloadSeen {
        replicas: spec.replicas.unwrap_or(1),
        ready: status.ready_replicas.unwrap_or(0),
        exist: status.replicas,
        template_hash: notes.and_then(|a| a.get(TEMPLATE_HASH).cloned()),
        image,
        failure: None,
    }
}

/// Reads a Deployment.
pub(crate) fn deployment_seen(deployment: &Deployment) -> WorkloadSeen {
    let spec = deployment.spec.clone().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    let failed =
        status.conditions.iter().flatten().find(|c| c.type_ == "ReplicaFailure" && c.status == "True");
    WorkloadSeen {
        replicas: spec.replicas.unwrap_or(1),
        ready: status.ready_replicas.unwrap_or(0),
        exist: status.replicas.unwrap_or(0),
        template_hash: None,
        image: None,
        failure: failed.and_then(|c| c.message.clone()),
    }
}

/// A volume claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimSeen {
    /// Its name.
    pub name: String,
    /// It has a volume.
    pub bound: bool,
    /// Its StorageClass. None if the cluster has no default or the claim asks for none.
    pub class: Option<String>,
    /// It is being deleted.
    pub going: bool,
}

/// Reads a claim.
pub(crate) fn claim_seen(claim: &PersistentVolumeClaim) -> ClaimSeen {
    ClaimSeen {
        name: claim.metadata.name.clone().unwrap_or_default(),
        bound: claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound"),
        class: claim.spec.as_ref().and_then(|s| s.storage_class_name.clone()).filter(|c| !c.is_empty()),
        going: claim.metadata.deletion_timestamp.is_some(),
    }
}
