//! What the operator reports. The status can be rebuilt: the truth is in the vaults and in the journal. It holds only what changes rarely. Numbers that change at
//! each pass are metrics.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupKeyVaultStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Summary: Pending, Bootstrapping, AwaitingSignature, Ready, Degraded, Unavailable, Refused, FleetLost, Paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The state of the fleet. docs/operator-conditions.md explains each type and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Identity of the fleet. Fixed once the fleet is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
    /// How many vaults are in sync, and how many more the fleet can lose.
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
    /// Every certificate of every chain, and when it expires.
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
    /// Fingerprint of the root. Compare it with the root that your apps pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_fingerprint: Option<String>,
    /// Number of the admission list in force: which vaults belong to the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission_number: Option<u64>,
    /// Number of the policy in force: attempts, waits and token issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_number: Option<u64>,
}

/// The quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuorumStatus {
    /// Vaults that vote.
    pub voters: u32,
    /// A majority of the voters. With fewer in sync no user can recover.
    pub required: u32,
    /// Vaults that are up, verified and up to date.
    pub in_sync: u32,
    /// How many more vaults the fleet can lose before recoveries fail.
    pub tolerates: u32,
}

/// Versions.
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
    /// State of the region's vault: Pending, Starting, AwaitingAdmission, Joining, Voter, Unreachable, Quarantined, LeftBehind.
    pub phase: String,
    /// The vault serves in every shard.
    pub ready: bool,
    /// Hash of the pod template that the vault should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    /// Hash of the pod template that the vault runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_template_hash: Option<String>,
    /// The vault's hardware token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsm: Option<RegionHsmStatus>,
    /// Why the vault is not ready, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// A region's token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionHsmStatus {
    /// What the token can do: EcdsaP256, Hmac, DataObjects and so on.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<String>,
    /// How the vault detects a rolled-back disk. TokenAnchor: by a counter in the token, even alone. MajorityOnly: only with the help of the other vaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_protection: Option<String>,
    /// Fingerprint of the token's identity key, as on the admission list.
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

/// The operation that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Id of the operation.
    pub id: String,
    /// Its kind: Bootstrap, Policy or Admission.
    pub kind: String,
    /// The current step.
    pub step: String,
    /// When the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// Something that the operator waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitStatus {
    /// The check that does not hold. docs/operator-conditions.md explains each.
    pub check: String,
    /// The object that the check is about: a region, a Secret, a ConfigMap.
    pub target: String,
    /// What is wrong, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the wait began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The certificate's Secret. With the suffix `/ca` for its authority.
    pub name: String,
    /// Authority: it signs other certificates. Leaf: the certificate of a vault, ChatD or the operator.
    pub kind: String,
    /// When it expires.
    pub not_after: Time,
}

/// The front end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatdStatus {
    /// ChatD's address inside the cluster.
    pub address: String,
    /// Pods that serve.
    pub ready_replicas: i32,
    /// Pods that the spec asks for.
    pub replicas: i32,
}
