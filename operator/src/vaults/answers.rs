//! What vaults answer. Unknown fields are ignored: an older operator must bear a newer vault.

use serde::Deserialize;

/// `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct VaultStatus {
    /// Its region, as it is configured.
    pub region: String,
    /// Its Raft id.
    pub node: u64,
    /// A verified voter in every shard, its token up.
    pub ready: bool,
    /// Every shard knows its fleet.
    pub initialised: bool,
    /// Which fleet that is, 32 hexadecimal digits.
    #[serde(default)]
    pub fleet: Option<String>,
    /// Number of the admission list in force.
    #[serde(default)]
    pub admission: Option<u64>,
    /// Number of the policy in force.
    #[serde(default)]
    pub policy: Option<u64>,
    /// The token's health, in words.
    #[serde(default)]
    pub token: String,
    /// Fingerprint of the public root that it obeys.
    #[serde(default)]
    pub root: Option<String>,
    /// This vault keeps the private half of an in-fleet root.
    #[serde(default)]
    pub root_held: bool,
    /// What the token was seen to do.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What tells an old disk.
    #[serde(default)]
    pub rollback_protection: Option<String>,
    /// When the issuer's keys were last read, seconds since the epoch; 0: never, so that every token is refused. None: there is no policy yet.
    #[serde(default)]
    pub issuer_keys_read: Option<u64>,
    /// Of the program.
    #[serde(default)]
    pub version: Option<String>,
    /// Its replicas.
    #[serde(default)]
    pub shards: Vec<ShardStatus>,
}

/// One replica.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ShardStatus {
    /// Which shard.
    pub shard: u16,
    /// joining, catching-up, verified, quarantined, halted.
    pub phase: String,
    /// While it is joining: the regions that it has not heard from.
    #[serde(default)]
    pub waits_for: serde_json::Value,
    /// It leads.
    #[serde(default)]
    pub leads: bool,
}

/// `GET /v1/token`: the public parts that go on the admission list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct VaultToken {
    /// Its region.
    pub region: String,
    /// Its Raft id.
    pub node: u64,
    /// SPKI DER of the identity key, base64.
    pub identity: String,
    /// HPKE public key, base64.
    pub delivery: String,
    /// Of the two, for people.
    pub fingerprints: Fingerprints,
}

/// Fingerprints for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Fingerprints {
    /// Of the identity key.
    #[serde(default)]
    pub identity: String,
    /// Of the delivery key.
    #[serde(default)]
    pub delivery: String,
}

/// `GET /v1/root`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RootAnswer {
    /// The public root file, base64.
    pub root: String,
    /// For people.
    pub fingerprint: String,
    /// The private half lies here.
    pub held: bool,
}

/// `GET /v1/root/sealed`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SealedRoots {
    /// One for each admitted vault.
    #[serde(rename = "for")]
    pub members: Vec<SealedRoot>,
}

/// The private half of the root, for one vault's eyes: ciphertext to the operator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SealedRoot {
    /// Whose.
    pub slot: u8,
    /// Base64.
    pub sealed: String,
}
