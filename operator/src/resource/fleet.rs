//! What the fleet shares: its root.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{KeyReference, NameReference};

/// What the fleet shares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetOptions {
    /// Who keeps the root key. It signs which vaults exist and what they enforce.
    #[serde(default)]
    pub root: RootCustody,
}

/// Who keeps the root key: set exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.inFleet), has(self.offline)].exists_one(x, x)").message("exactly one of inFleet, offline must be set in fleet.root"),
    validation = Rule::new("self == oldSelf").message("fleet.root is immutable: a root that once lay in the fleet cannot become an offline one").reason(Reason::FieldValueForbidden)
)]
pub struct RootCustody {
    /// A vault makes the root key, and every admitted vault keeps a copy. The operator never sees it, but can have documents signed. Not for production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_fleet: Option<InFleetRoot>,
    /// People keep the root key off the cluster. They sign the operator's requests with `bkv ceremony sign`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<OfflineRoot>,
}

impl Default for RootCustody {
    fn default() -> Self {
        Self { in_fleet: Some(InFleetRoot {}), offline: None }
    }
}

/// No options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InFleetRoot {}

/// An offline root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfflineRoot {
    /// ConfigMap with the public root file of `bkv ceremony root`. Default key: `root.bin` (binaryData).
    pub root_config_map_ref: KeyReference,
    /// ConfigMap where you put the signed documents: keys `admission` and `policy` (binaryData). You can create it later; the operator waits for it.
    pub signed_config_map_ref: NameReference,
}
