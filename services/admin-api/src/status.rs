//! Answer of `GET /v1/status`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::token::{Capability, Fingerprints};

/// The state of a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultStatus {
    /// Version of the program.
    #[serde(default)]
    pub version: Option<String>,
    /// The oldest and the newest version of the replicated state that the program can apply. None: an older program.
    #[serde(default)]
    pub state_versions: Option<(u32, u32)>,
    /// The vault's region, as configured.
    pub region: String,
    /// The vault's Raft node id.
    pub node: u64,
    /// True if the vault is a verified voter in every shard and its token is up.
    pub ready: bool,
    /// The fleet that the vault belongs to, 32 hexadecimal digits. None before the fleet is made.
    #[serde(default)]
    pub fleet: Option<String>,
    /// Fingerprint of the public root that the vault obeys.
    #[serde(default)]
    pub root: Option<String>,
    /// True if this vault holds the private half of an in-fleet root.
    #[serde(default)]
    pub root_held: bool,
    /// What the token did when the vault tried it. None while the token does not answer.
    #[serde(default)]
    pub capabilities: Option<Vec<Capability>>,
    /// True if every shard knows its fleet.
    pub initialised: bool,
    /// The vault's replicas.
    #[serde(default)]
    pub shards: Vec<ShardStatus>,
    /// Whether the token works.
    #[serde(default)]
    pub token: TokenHealth,
    /// Why the token is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_error: Option<String>,
    /// Fingerprint of the delivery key.
    #[serde(default)]
    pub fingerprints: Fingerprints,
    /// When the vault last read the token issuer's keys, seconds since the epoch. 0: never, so the vault refuses every access token. None: no policy yet.
    #[serde(default)]
    pub issuer_keys_read: Option<u64>,
    /// False if the vault has no issuer's keys that are younger than a day, so that it refuses every access token. None: no policy yet, or an older version.
    #[serde(default)]
    pub issuer_keys_fresh: Option<bool>,
    /// Number of the admission list in force.
    #[serde(default)]
    pub admission: Option<u64>,
    /// Number of the policy in force.
    #[serde(default)]
    pub policy: Option<u64>,
    /// How the fleet detects a disk that was set back.
    #[serde(default)]
    pub rollback_protection: RollbackProtection,
    /// The volume that holds the store. None if its space can't be read.
    #[serde(default)]
    pub volume: Option<Volume>,
    /// What people should know about this fleet's protection.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The volume that holds a vault's store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Free bytes.
    pub free: u64,
    /// Bytes in all.
    pub size: u64,
    /// Bytes that must stay free.
    pub keep_free: u64,
    /// True if less is free: the vault takes only what ends an attempt or deletes a key.
    pub full: bool,
    /// True if the reserve file is there. The vault deletes it to start on a full disk.
    #[serde(default)]
    pub reserve: bool,
}

/// The state of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// The shard's number.
    pub shard: u16,
    /// How far the replica has joined.
    #[serde(flatten)]
    pub phase: Phase,
    /// True if this replica leads.
    #[serde(default)]
    pub leads: bool,
    /// Region of the leader, if known.
    #[serde(default)]
    pub leader: Option<String>,
    /// Raft term.
    #[serde(default)]
    pub term: u64,
    /// Index of the last applied entry.
    #[serde(default)]
    pub applied: u64,
    /// Index of the last entry that has left the log.
    #[serde(default)]
    pub purged: u64,
    /// The version of the replicated state in force. None before the fleet is made.
    #[serde(default)]
    pub state_version: Option<u32>,
}

/// How far a replica has joined. In JSON: `phase`, and `waits_for` with what the phase carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", content = "waits_for", rename_all = "kebab-case", from = "AnyPhase")]
pub enum Phase {
    /// Waits for these regions to report what they have seen of this vault.
    Joining(Vec<String>),
    /// Follows until its log reaches this index.
    CatchingUp(u64),
    /// Votes.
    Verified,
    /// Does not vote: its disk is older than the state that the others saw. The text has the reason.
    Quarantined(String),
    /// Stopped: its state contradicts the others'. The text has the reason.
    Halted(String),
    /// The program can't apply the version of the state in force. Once a program runs that can, the replica follows again. The text has the versions.
    LeftBehind(String),
    /// A phase that this version does not know.
    #[default]
    Unknown,
}

/// A phase of any version: serde's own reader of a tagged enum refuses an unknown phase that carries something.
#[derive(Deserialize)]
struct AnyPhase {
    phase: String,
    #[serde(default)]
    waits_for: Value,
}

impl From<AnyPhase> for Phase {
    fn from(any: AnyPhase) -> Self {
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        match any.phase.as_str() {
            "joining" => Self::Joining(serde_json::from_value(any.waits_for).unwrap_or_default()),
            "catching-up" => Self::CatchingUp(any.waits_for.as_u64().unwrap_or_default()),
            "verified" => Self::Verified,
            "quarantined" => Self::Quarantined(text(any.waits_for)),
            "halted" => Self::Halted(text(any.waits_for)),
            "left-behind" => Self::LeftBehind(text(any.waits_for)),
            _ => Self::Unknown,
        }
    }
}

impl Phase {
    /// Its name in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Joining(_) => "joining",
            Self::CatchingUp(_) => "catching-up",
            Self::Verified => "verified",
            Self::Quarantined(_) => "quarantined",
            Self::Halted(_) => "halted",
            Self::LeftBehind(_) => "left-behind",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a vault's token works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenHealth {
    /// At least one session works.
    Up,
    /// No session works; the vault keeps trying to connect.
    Down,
    /// A value that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl fmt::Display for TokenHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
        })
    }
}

/// How a fleet detects a disk that was rolled back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RollbackProtection {
    /// Only by what a majority of the other vaults has seen.
    MajorityOnly,
    /// A value that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl RollbackProtection {
    /// Its name in JSON and in the resource's status. None for [`Self::Unknown`].
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::MajorityOnly => Some("MajorityOnly"),
            Self::Unknown => None,
        }
    }
}

impl VaultStatus {
    /// True if the vault has no issuer's keys to verify tokens with: it never read any, or the last ones are older than a day.
    pub fn refuses_tokens(&self) -> bool {
        self.issuer_keys_read == Some(0) || self.issuer_keys_fresh == Some(false)
    }

    /// The token's health with its error, for messages.
    pub fn token_words(&self) -> String {
        match &self.token_error {
            Some(error) => format!("{}: {error}", self.token),
            None => self.token.to_string(),
        }
    }
}
