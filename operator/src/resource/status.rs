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
    /// What is true of the fleet now: docs/operator-conditions.md says what each type and reason means and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Which fleet this is: fixed once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
    /// How many vaults vote, and how many more may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumStatus>,
    /// Which versions run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionStatus>,
    /// Each region and the vault in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 14))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub regions: Vec<RegionStatus>,
    /// The tokens, all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsm: Option<HsmStatus>,
    /// What the operator is doing, step by step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// What the operator waits for, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["check".into(), "target".into()]))]
    pub waits: Vec<WaitStatus>,
    /// Every certificate of every chain, and until when it is valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub certificates: Vec<CertificateStatus>,
    /// ChatD, the front end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chatd: Option<ChatdStatus>,
}

/// Which fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// The fleet's id, 32 hexadecimal digits.
    pub id: String,
    /// Who keeps the root key: InFleet or Offline.
    pub root_custody: String,
    /// What people compare with the root that their apps pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_fingerprint: Option<String>,
    /// Number of the admission list in force: which vaults belong to the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission_number: Option<u64>,
    /// Number of the policy in force: attempts, waits and whose tokens count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_number: Option<u64>,
}

/// Who votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuorumStatus {
    /// Vaults on the admission list that vote.
    pub voters: u32,
    /// A majority of them: with fewer nothing can be recovered.
    pub required: u32,
    /// Vaults that are up, verified, and have applied what the others have.
    pub in_sync: u32,
    /// How many more may be lost before nothing can be recovered.
    pub tolerates: u32,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// Version of the vaults; `mixed` if they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// Version of the operator that wrote this.
    pub operator: String,
}

/// One region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// Name of the region, as in the spec.
    pub name: String,
    /// Where its vault is on its way: Pending, Starting, AwaitingAdmission, Joining, Voter, Unreachable, Quarantined.
    pub phase: String,
    /// Its vault serves in every shard.
    pub ready: bool,
    /// Hash of the pod template that its vault should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    /// Hash of the pod template that its vault runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_template_hash: Option<String>,
    /// The hardware token of its vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsm: Option<RegionHsmStatus>,
    /// Why it is not ready, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// A region's token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionHsmStatus {
    /// What the token was seen to do: EcdsaP256, Hmac, DataObjects and so on.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<String>,
    /// How a disk that was put back is noticed. TokenAnchor: the token counts, so even one vault notices. MajorityOnly: the other vaults do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_protection: Option<String>,
    /// Fingerprint of the identity key that the token made, as on the admission list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_fingerprint: Option<String>,
}

/// The tokens, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HsmStatus {
    /// Kind of the tokens: softhsm, pkcs11, gcpKms, awsCloudHsm, or mixed.
    pub kind: String,
}

/// What is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Id of the operation.
    pub id: String,
    /// Its kind: Bootstrap, Policy or Admission.
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
    /// What is checked: a constant of docs/operator-conditions.md.
    pub check: String,
    /// The object that is waited for: a region, a Secret, a ConfigMap.
    pub target: String,
    /// What is waited for in words, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when it is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The Secret that holds it; `/ca` behind it for the authority.
    pub name: String,
    /// Authority: it signs others. Leaf: it names a vault, ChatD or the operator.
    pub kind: String,
    /// It is not valid after this time.
    pub not_after: Time,
}

/// The front end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatdStatus {
    /// Address at which clients in the cluster find it.
    pub address: String,
    /// Pods that serve now.
    pub ready_replicas: i32,
    /// Pods that there should be.
    pub replicas: i32,
}
