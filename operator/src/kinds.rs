//! The kinds of objects that the operator makes, and how each is addressed.

use kube::core::{ApiResource, GroupVersionKind};

/// A kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural, as in addresses.
    pub plural: &'static str,
    /// Every cluster has it. Others are looked for, and what needs them is left out where they are missing.
    pub always: bool,
    /// Its state is the fleet's state: it is watched as a whole, and not its metadata alone.
    pub child: bool,
    /// What is no longer planned is deleted. Never so for what may hold keys.
    pub prune: bool,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, kind, plural, always: true, child: false, prune: true }
}

const fn optional(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> Kind {
    Kind { group, version, kind, plural, always: false, child: false, prune: true }
}

/// A pod: made by others, watched because its state is the fleet's.
pub const POD: Kind =
    Kind { group: "", version: "v1", kind: "Pod", plural: "pods", always: true, child: true, prune: false };
/// A volume claim: made by StatefulSets; holds keys.
pub const CLAIM: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    always: true,
    child: true,
    prune: false,
};

const fn workload(kind: &'static str, plural: &'static str) -> Kind {
    Kind { group: "apps", version: "v1", kind, plural, always: true, child: true, prune: true }
}

/// All that are watched.
pub const ALL: [Kind; 16] = [
    kind("", "v1", "ServiceAccount", "serviceaccounts"),
    kind("", "v1", "ConfigMap", "configmaps"),
    kind("", "v1", "Service", "services"),
    workload("StatefulSet", "statefulsets"),
    workload("Deployment", "deployments"),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    POD,
    CLAIM,
    optional("networking.k8s.io", "v1", "Ingress", "ingresses"),
    optional("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    optional("gateway.networking.k8s.io", "v1", "BackendTLSPolicy", "backendtlspolicies"),
    optional("cert-manager.io", "v1", "Certificate", "certificates"),
    optional("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
    optional("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
];

impl Kind {
    /// By name.
    pub fn named(kind: &str) -> Option<Self> {
        ALL.into_iter().find(|k| k.kind == kind)
    }

    /// For requests.
    pub fn resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }
}
