//! Common parts of all our pods: the `restricted` pod standard, probes, volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction,
    KeyToPath, LocalObjectReference, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext,
    PodSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext,
    ServiceAccount, TopologySpreadConstraint, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Object;
use crate::kinds::Kind;
use crate::part::Part;
use crate::validate::{self, KeyOf, Resources};

/// User and group of all our images.
const USER: i64 = 65_532;

/// The end of a container's log becomes its message when it fails, and so reaches the resource's status. Only for containers in which no PKCS#11 module runs:
/// our programs print no secret.
pub(super) const LAST_WORDS: &str = "FallbackToLogsOnError";

/// An account without rights. Its token is not mounted into the pod.
pub(super) fn service_account(
    part: Part<'_>,
    name: String,
    annotations: &BTreeMap<String, String>,
) -> Object {
    let mut metadata = part.owned(&name);
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    let account = ServiceAccount {
        metadata,
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    Object::of(Kind::ServiceAccount, name, &account)
}

/// The base of a pod spec: its user, and the privileges that it drops.
pub(super) fn spec(part: Part<'_>, account: String, grace: i64) -> PodSpec {
    let secrets = &part.fleet.images.pull_secrets;
    PodSpec {
        service_account_name: Some(account),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // The kubelet does not change the owner of every file at each start.
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(grace),
        image_pull_secrets: (!secrets.is_empty())
            .then(|| secrets.iter().map(|s| LocalObjectReference { name: s.clone() }).collect()),
        ..PodSpec::default()
    }
}

/// A container may write to its volumes and do nothing else.
pub(super) fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Spreads the pods of a part over nodes and zones, if there are several.
pub(super) fn spread(part: Part<'_>) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| TopologySpreadConstraint {
            label_selector: Some(part.label_selector()),
            max_skew: 1,
            topology_key: key.into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            ..TopologySpreadConstraint::default()
        })
        .into()
}

/// `/livez` and the like on the port `health`: seconds between, failures until, seconds to answer.
pub(super) fn health(path: &str, period: i32, failures: i32, timeout: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("health".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(timeout),
        ..Probe::default()
    }
}

pub(super) fn requirements(resources: &Resources) -> ResourceRequirements {
    let amounts = |map: &BTreeMap<&'static str, validate::Quantity>| {
        let amounts: BTreeMap<_, _> =
            map.iter().map(|(what, amount)| ((*what).to_owned(), Quantity(amount.to_string()))).collect();
        (!amounts.is_empty()).then_some(amounts)
    };
    ResourceRequirements {
        requests: amounts(&resources.requests),
        limits: amounts(&resources.limits),
        claims: None,
    }
}

/// Resources of small init containers.
pub(super) fn small() -> ResourceRequirements {
    let amounts = |list: &[(&str, &str)]| {
        Some(list.iter().map(|(what, amount)| ((*what).to_owned(), Quantity((*amount).to_owned()))).collect())
    };
    ResourceRequirements {
        requests: amounts(&[("cpu", "10m"), ("memory", "32Mi")]),
        limits: amounts(&[("memory", "256Mi")]),
        claims: None,
    }
}

pub(super) fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort { name: Some(name.into()), container_port: number.into(), ..ContainerPort::default() }
}

pub(super) fn env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() }
}

pub(super) fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(name, path) }
}

/// A Secret volume that only its owner can read. `fsGroup` lets our group read too.
pub(super) fn secret(name: &str, secret: &str, items: Option<Vec<KeyToPath>>) -> Volume {
    Volume {
        name: name.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(0o400),
            items,
            optional: None,
        }),
        ..Volume::default()
    }
}

pub(super) fn config(name: &str, map: &str, items: Option<Vec<KeyToPath>>) -> Volume {
    let source =
        ConfigMapVolumeSource { name: map.to_owned(), default_mode: Some(0o444), items, optional: None };
    Volume { name: name.into(), config_map: Some(source), ..Volume::default() }
}

/// The key as a file of this name.
pub(super) fn item(from: &KeyOf, file: &str) -> KeyToPath {
    KeyToPath { key: from.key.clone(), path: file.into(), mode: None }
}

pub(super) fn empty(name: &str, limit: &str) -> Volume {
    let source = EmptyDirVolumeSource {
        size_limit: Some(Quantity(limit.to_owned())),
        ..EmptyDirVolumeSource::default()
    };
    Volume { name: name.into(), empty_dir: Some(source), ..Volume::default() }
}

/// A claim template. By its labels people find the volumes that remain after the resource is deleted.
pub(super) fn claim(part: Part<'_>, name: &str, size: &str, class: Option<&String>) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(part.labels()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size.to_owned()))].into()),
                limits: None,
            }),
            storage_class_name: class.cloned(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
