//! An object that should exist.

use k8s_openapi::Resource;
use serde::Serialize;
use serde_json::Value;

/// When an object is applied: what others need comes first, pods come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// ServiceAccounts.
    ServiceAccounts,
    /// ConfigMaps.
    ConfigMaps,
    /// cert-manager's Certificates.
    Certificates,
    /// Services.
    Services,
    /// Budgets and NetworkPolicies: before the pods that they are about.
    Policies,
    /// Monitors and alerts.
    Monitoring,
    /// Ingress, HTTPRoute, BackendTLSPolicy, HorizontalPodAutoscaler.
    Access,
    /// StatefulSets and Deployments.
    Workloads,
}

/// An object that should exist: complete for server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// `apps/v1`.
    pub api_version: &'static str,
    /// `StatefulSet`.
    pub kind: &'static str,
    /// `statefulsets`: as in its path.
    pub plural: &'static str,
    /// Its name.
    pub name: String,
    /// When it is applied.
    pub stage: Stage,
    /// All of it.
    pub body: Value,
}

impl Object {
    /// Of a type that Kubernetes has.
    pub(super) fn typed<T: Resource + Serialize>(stage: Stage, name: String, object: &T) -> Self {
        Self {
            api_version: T::API_VERSION,
            kind: T::KIND,
            plural: T::URL_PATH_SEGMENT,
            name,
            stage,
            // Kubernetes' types are JSON objects: there is nothing in them that JSON can't say.
            body: serde_json::to_value(object).unwrap_or_default(),
        }
    }
}
