//! One region.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::hsm::Hsm;
use super::storage::Storage;
use super::values::{Labels, Resources};

/// One region: one vault with its own token and volumes.
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
    /// Name of the region, such as `eu-west`. It also stands on the signed admission list.
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Labels of this region's nodes, usually `topology.kubernetes.io/region`. Without them the vault can run on any node. Immutable: volumes stay where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 8))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Tolerations of the vault's pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,
    /// The vault's volume, with records, log and snapshots.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory of the vault. Default: requests 250m and 256Mi, memory limit 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The region's own token, instead of `spec.hsm`. It cannot be added or removed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsm: Option<Hsm>,
    /// Annotations of the vault's ServiceAccount. Clouds bind workload identities with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 4))]
    pub service_account_annotations: Option<Labels>,
}
