//! An object that should exist.

use serde::Serialize;
use serde_json::{Value, json};

use crate::kinds::Kind;

/// An object that should exist: complete for server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it.
    pub body: Value,
}

/// When an object is applied. Other objects' dependencies come first, pods come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wave {
    ServiceAccounts,
    ConfigMaps,
    Certificates,
    Services,
    /// Before the pods that they select.
    Policies,
    Monitoring,
    Access,
    Workloads,
}

impl Object {
    /// An object of `kind`. `body` needs no `apiVersion` and `kind`.
    pub(super) fn of<T: Serialize>(kind: Kind, name: String, body: &T) -> Self {
        // Kubernetes' types always serialise to JSON objects.
        let mut body = serde_json::to_value(body).unwrap_or_default();
        if let Some(fields) = body.as_object_mut() {
            fields.entry("apiVersion").or_insert_with(|| json!(kind.api_version()));
            fields.entry("kind").or_insert_with(|| json!(kind.name()));
        }
        Self { kind, name, body }
    }

    /// When it is applied.
    pub(super) const fn wave(&self) -> Wave {
        match self.kind {
            Kind::ServiceAccount => Wave::ServiceAccounts,
            Kind::ConfigMap => Wave::ConfigMaps,
            Kind::Certificate => Wave::Certificates,
            Kind::Service => Wave::Services,
            Kind::PodDisruptionBudget | Kind::NetworkPolicy => Wave::Policies,
            Kind::PodMonitor | Kind::PrometheusRule => Wave::Monitoring,
            Kind::Ingress | Kind::HttpRoute | Kind::BackendTlsPolicy | Kind::HorizontalPodAutoscaler => {
                Wave::Access
            }
            Kind::StatefulSet | Kind::Deployment | Kind::Pod | Kind::PersistentVolumeClaim => Wave::Workloads,
        }
    }
}
