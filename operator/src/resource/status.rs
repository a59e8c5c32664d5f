//! What the operator answers. A cache that can be rebuilt: the truth is in the vaults and in the journal. Only what changes rarely is here; numbers that
//! move at each pass are metrics.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupKeyVaultStatus {
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// In a word: Pending, Bootstrapping, AwaitingSignature, Ready, Degraded, Unavailable, Refused, FleetLost, Paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The words of the whole: see docs/operator.md for each type and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Which fleet this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
    /// Who votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumStatus>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionStatus>,
    /// Each region.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 14))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub regions: Vec<RegionStatus>,
    /// The tokens, all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsm: Option<HsmStatus>,
    /// What is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// What is waited for, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["check".into(), "target".into()]))]
    pub waits: Vec<WaitStatus>,
    /// Every link of every chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub certificates: Vec<CertificateStatus>,
    /// The front end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chatd: Option<ChatdStatus>,
}

/// Which fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// InFleet or Offline.
    pub root_custody: String,
    /// What people compare with the root that their apps pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_fingerprint: Option<String>,
    /// The admission list in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission_number: Option<u64>,
    /// The policy in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_number: Option<u64>,
}

/// Who votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuorumStatus {
    /// On the admission list.
    pub voters: u32,
    /// A majority of them.
    pub required: u32,
    /// Up, verified and applied.
    pub in_sync: u32,
    /// How many more may be lost.
    pub tolerates: u32,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// Of the vaults; `mixed` if they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// Of the operator that wrote this.
    pub operator: String,
}

/// One region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// Its name.
    pub name: String,
    /// Pending, Starting, AwaitingAdmission, Joining, Voter, Unreachable, Quarantined.
    pub phase: String,
    /// Serves in every shard.
    pub ready: bool,
    /// Hash of the pod template that the plan has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    /// Hash of the one that its pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_template_hash: Option<String>,
    /// Its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsm: Option<RegionHsmStatus>,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// A region's token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionHsmStatus {
    /// What it was seen to do.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<String>,
    /// TokenAnchor or MajorityOnly: what tells an old disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_protection: Option<String>,
    /// Of its identity key; as on the admission list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_fingerprint: Option<String>,
}

/// The tokens, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HsmStatus {
    /// softhsm, pkcs11, gcpKms, awsCloudHsm or mixed.
    pub kind: String,
}

/// What is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Its id.
    pub id: String,
    /// Bootstrap, Policy, Admission.
    pub kind: String,
    /// The step it is at.
    pub step: String,
    /// Since when it is at that step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitStatus {
    /// What is checked: a constant of docs/operator.md.
    pub check: String,
    /// On what.
    pub target: String,
    /// In words, with what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The Secret that holds it; `/ca` behind it for the authority.
    pub name: String,
    /// Authority or Leaf.
    pub kind: String,
    /// Not valid after.
    pub not_after: Time,
}

/// The front end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatdStatus {
    /// Where clients in the cluster find it.
    pub address: String,
    /// Pods that serve.
    pub ready_replicas: i32,
    /// Pods wanted.
    pub replicas: i32,
}
