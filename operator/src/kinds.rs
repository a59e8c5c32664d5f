//! The Kubernetes kinds that the operator watches, applies and prunes.

use std::collections::BTreeSet;

use kube::core::{ApiResource, GroupVersionKind};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// A kind.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[allow(missing_docs)] // each is the Kubernetes kind of that name
pub enum Kind {
    ServiceAccount,
    ConfigMap,
    Service,
    StatefulSet,
    Deployment,
    PodDisruptionBudget,
    NetworkPolicy,
    HorizontalPodAutoscaler,
    /// Created by workloads.
    Pod,
    /// Created by StatefulSets. A vault's claim holds keys.
    PersistentVolumeClaim,
    /// Every cluster knows it, but the operator may lack the right to it.
    Ingress,
    #[strum(serialize = "HTTPRoute")]
    HttpRoute,
    /// Since Gateway API 1.4.
    #[strum(serialize = "BackendTLSPolicy")]
    BackendTlsPolicy,
    Certificate,
    PodMonitor,
    PrometheusRule,
}

/// Kinds that the cluster knows and the operator may list.
pub type Kinds = BTreeSet<Kind>;

impl Kind {
    /// Group (empty for the core group), version and plural, as in paths of the API.
    const fn place(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("", "v1", "serviceaccounts"),
            Self::ConfigMap => ("", "v1", "configmaps"),
            Self::Service => ("", "v1", "services"),
            Self::StatefulSet => ("apps", "v1", "statefulsets"),
            Self::Deployment => ("apps", "v1", "deployments"),
            Self::PodDisruptionBudget => ("policy", "v1", "poddisruptionbudgets"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "networkpolicies"),
            Self::HorizontalPodAutoscaler => ("autoscaling", "v2", "horizontalpodautoscalers"),
            Self::Pod => ("", "v1", "pods"),
            Self::PersistentVolumeClaim => ("", "v1", "persistentvolumeclaims"),
            Self::Ingress => ("networking.k8s.io", "v1", "ingresses"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "httproutes"),
            Self::BackendTlsPolicy => ("gateway.networking.k8s.io", "v1", "backendtlspolicies"),
            Self::Certificate => ("cert-manager.io", "v1", "certificates"),
            Self::PodMonitor => ("monitoring.coreos.com", "v1", "podmonitors"),
            Self::PrometheusRule => ("monitoring.coreos.com", "v1", "prometheusrules"),
        }
    }

    /// As in an object's `kind`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// As in paths of the API.
    pub const fn plural(self) -> &'static str {
        self.place().2
    }

    /// As in an object's `apiVersion`.
    pub fn api_version(self) -> String {
        self.resource().api_version
    }

    /// A cluster may lack it, or the operator the right to it. The plan then leaves objects of this kind out.
    pub const fn optional(self) -> bool {
        matches!(
            self,
            Self::Ingress
                | Self::HttpRoute
                | Self::BackendTlsPolicy
                | Self::Certificate
                | Self::PodMonitor
                | Self::PrometheusRule
        )
    }

    /// Its state is part of the fleet's state. The operator watches whole objects of it, and of other kinds only the metadata.
    pub const fn child(self) -> bool {
        matches!(self, Self::StatefulSet | Self::Deployment | Self::Pod | Self::PersistentVolumeClaim)
    }

    /// The operator deletes objects of it that are no longer planned. Never true for volume claims: they hold keys.
    pub const fn prunable(self) -> bool {
        !matches!(self, Self::Pod | Self::PersistentVolumeClaim)
    }

    /// For requests.
    pub fn resource(self) -> ApiResource {
        let (group, version, plural) = self.place();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.name()), plural)
    }

    /// The kinds of every cluster, and those optional ones that `known` holds for.
    pub fn known(known: impl Fn(Self) -> bool) -> Kinds {
        Self::VARIANTS.iter().copied().filter(|k| !k.optional() || known(*k)).collect()
    }
}
