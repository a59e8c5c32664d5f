//! Images.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::NameReference;

/// Images to run. Default: the images of the operator's release. The vault's image is pinned in the fleet's journal when the fleet is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.vault) == has(oldSelf.vault)").message("images.vault cannot change yet: upgrades of vaults come with a later release").reason(Reason::FieldValueForbidden)
)]
pub struct Images {
    /// The vault's image. Cannot change yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("images.vault cannot change yet: upgrades of vaults come with a later release").reason(Reason::FieldValueForbidden))]
    pub vault: Option<String>,
    /// ChatD's image. A change rolls its Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$"))]
    pub chatd: Option<String>,
    /// The managed database's image. A change restarts its pod; until it is back, ChatD's answers about keys are stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$"))]
    pub postgres: Option<String>,
    /// When a node pulls an image: Always, IfNotPresent or Never. Default: the operator's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Secrets of type kubernetes.io/dockerconfigjson, for a registry that needs a login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub pull_secrets: Vec<NameReference>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Each time a pod starts.
    Always,
    /// When the node lacks it.
    IfNotPresent,
    /// Never: the image must be on the node.
    Never,
}

impl PullPolicy {
    /// From Kubernetes' spelling.
    pub fn named(text: &str) -> Option<Self> {
        [Self::Always, Self::IfNotPresent, Self::Never].into_iter().find(|p| p.as_str() == text)
    }

    /// As Kubernetes spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}
