//! One region.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::hsm::Hsm;
use super::storage::Storage;
use super::values::{Labels, Resources};

/// One region: one vault with a token and volumes of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.nodeSelector) == has(oldSelf.nodeSelector) && (!has(self.nodeSelector) || self.nodeSelector == oldSelf.nodeSelector)")
        .message("nodeSelector of a region is immutable: its volumes stay where they are")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.hsm) == has(oldSelf.hsm)")
        .message("hsm of a region cannot be added or removed: its keys stay in the token that they were made in")
        .reason(Reason::FieldValueForbidden)
)]
pub struct Region {
    /// A name for people, also on the signed admission list: `eu-west`.
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Labels of the nodes that are this region, usually `topology.kubernetes.io/region`. Without it the vault may run on any node. Immutable: the volumes stay where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 8))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints of nodes that its vault tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,
    /// The volume of its vault: records, log and snapshots.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory of its vault. Default: 250m and 256Mi requested, 1Gi at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// A token of its own instead of `spec.hsm`. It cannot be added or removed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsm: Option<Hsm>,
    /// Annotations of its ServiceAccount: how a cloud's workload identity is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 4))]
    pub service_account_annotations: Option<Labels>,
}
