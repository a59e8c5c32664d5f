//! `vault.toml`. It contains no secret, only the paths of files with the keys and the PIN.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bkv_core::id::FleetId;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, FieldError, TokenConfig, address, file};

/// The file's name. The operator and `bkv dev` write the file under it.
pub const FILE_NAME: &str = "vault.toml";

/// The whole file. Its text is hashed into the pod template: see the [crate](crate) before adding a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The region's name, as on the admission list.
    pub region: String,
    /// Folder of the store. It must be on another volume than a software token's directory.
    pub data: PathBuf,
    /// The pinned root, in a file that `bkv ceremony root` or the seed vault of an in-fleet root wrote.
    pub root: PathBuf,
    /// The number of shards. The policy must have the same number.
    #[serde(default = "default_shards")]
    pub shards: u16,
    /// PEM file of the only authorities that may certify the server of the policy's JWKS. Default: the public authorities, which are compiled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_ca_file: Option<PathBuf>,
    /// Makes this vault create the root once and write its public half to `root`. Only the seed of an in-fleet root has this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make_root: Option<MakeRoot>,
    /// The HSM token.
    pub token: TokenConfig,
    /// Where the vault listens.
    pub listen: Listen,
    /// Region → `host:port` where the other vaults listen for peers.
    pub peers: BTreeMap<String, String>,
    /// Role certificate for ChatD and administration.
    pub tls: Tls,
    /// Raft timings.
    #[serde(default, skip_serializing_if = "Timings::is_default")]
    pub raft: Timings,
    /// How far the other vaults are away.
    #[serde(default, skip_serializing_if = "Network::is_default")]
    pub network: Network,
    /// The volume that holds `data`.
    #[serde(default, skip_serializing_if = "Volume::is_default")]
    pub volume: Volume,
}

/// The in-fleet root that this vault creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeRoot {
    /// The fleet's id, 32 hexadecimal digits. The operator draws it.
    #[serde(serialize_with = "write_fleet_id", deserialize_with = "read_fleet_id")]
    pub fleet: FleetId,
}

fn write_fleet_id<S: serde::Serializer>(id: &FleetId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(id.0))
}

fn read_fleet_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<FleetId, D::Error> {
    let bad = || serde::de::Error::custom("32 hex digits, not all zero");
    let text = String::deserialize(deserializer)?;
    let bytes = hex::decode(text).map_err(|_| bad())?;
    FleetId::try_from(bytes.as_slice()).ok().filter(|id| id.0 != [0; 16]).ok_or_else(bad)
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// For connections of other vaults.
    pub peer: SocketAddr,
    /// For connections of ChatD.
    pub relay: SocketAddr,
    /// For the admin API.
    pub admin: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`, without TLS.
    pub health: SocketAddr,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain with `bkv://role/vault/<region>`.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The role CA.
    pub ca: PathBuf,
}

/// Room on the volume that holds `data`. The file contains only the fields that differ from their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Volume {
    /// Free space, in MiB, below which the vault accepts only what ends an open attempt, deletes a key, or belongs to the fleet. Default: 512, or 5 % of a small volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_free_mib: Option<u64>,
    /// Size, in MiB, of the reserve file. The vault deletes it to start on a full disk. 0 means no file.
    #[serde(skip_serializing_if = "is::<RESERVE_MIB>")]
    pub reserve_mib: u64,
}

const MIB: u64 = 1 << 20;
const KEEP_FREE_MIB: u64 = 512;
const RESERVE_MIB: u64 = 64;

impl Default for Volume {
    fn default() -> Self {
        Self { keep_free_mib: None, reserve_mib: RESERVE_MIB }
    }
}

impl Volume {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes that must stay free on a volume of this size.
    pub fn keep_free(&self, size: u64) -> u64 {
        let chosen = self.keep_free_mib.map(|mib| mib.saturating_mul(MIB));
        chosen.unwrap_or_else(|| (size / 20).min(KEEP_FREE_MIB * MIB))
    }

    /// Bytes of the reserve file.
    pub const fn reserve(&self) -> u64 {
        self.reserve_mib.saturating_mul(MIB)
    }
}

/// How far the other vaults are away. The file contains only the fields that differ from their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The longest round trip to another vault, in milliseconds, that this vault's time limits follow. A vault that is further away is treated as one that is away.
    #[serde(skip_serializing_if = "is::<MAX_ROUND_TRIP_MS>")]
    pub max_round_trip_ms: u64,
}

const MAX_ROUND_TRIP_MS: u64 = 400;
/// The largest `max_round_trip_ms`. The tests make a fleet of that distance.
pub const LONGEST_ROUND_TRIP_MS: u64 = 1000;

impl Default for Network {
    fn default() -> Self {
        Self { max_round_trip_ms: MAX_ROUND_TRIP_MS }
    }
}

impl Network {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The longest round trip.
    pub const fn max_round_trip(&self) -> Duration {
        Duration::from_millis(self.max_round_trip_ms)
    }

    fn check(&self) -> Result<(), FieldError> {
        if !(10..=LONGEST_ROUND_TRIP_MS).contains(&self.max_round_trip_ms) {
            return Err(FieldError::new("network", "10 ≤ max_round_trip_ms ≤ 1000 is needed"));
        }
        Ok(())
    }
}

/// Raft timings. The file contains only the fields that differ from their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timings {
    /// Time between heartbeats, in milliseconds.
    #[serde(skip_serializing_if = "is::<HEARTBEAT_MS>")]
    pub heartbeat_ms: u64,
    /// Shortest election timeout, in milliseconds. After `election_max_ms` without a heartbeat a follower waits a further random time between
    /// `election_min_ms` and `election_max_ms`, then starts an election.
    #[serde(skip_serializing_if = "is::<ELECTION_MIN_MS>")]
    pub election_min_ms: u64,
    /// Longest election timeout, in milliseconds. See `election_min_ms`.
    #[serde(skip_serializing_if = "is::<ELECTION_MAX_MS>")]
    pub election_max_ms: u64,
    /// The number of entries between snapshots.
    #[serde(skip_serializing_if = "is::<SNAPSHOT_ENTRIES>")]
    pub snapshot_entries: u64,
    /// Seconds between snapshots. An entry is removed from the log within twice this time, and with it the secrets of keys that were destroyed since.
    #[serde(skip_serializing_if = "is::<SNAPSHOT_EVERY_S>")]
    pub snapshot_every_s: u64,
}

const HEARTBEAT_MS: u64 = 100;
const ELECTION_MIN_MS: u64 = 200;
const ELECTION_MAX_MS: u64 = 300;
const SNAPSHOT_ENTRIES: u64 = 4096;
const SNAPSHOT_EVERY_S: u64 = 300;

const fn is<const DEFAULT: u64>(value: &u64) -> bool {
    *value == DEFAULT
}

impl Timings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat_ms: HEARTBEAT_MS,
            election_min_ms: ELECTION_MIN_MS,
            election_max_ms: ELECTION_MAX_MS,
            snapshot_entries: SNAPSHOT_ENTRIES,
            snapshot_every_s: SNAPSHOT_EVERY_S,
        }
    }
}

const fn default_shards() -> u16 {
    4
}

impl Config {
    /// Reads and checks the file. Relative paths in it start from its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        file::read(path, Self::parse)
    }

    /// From text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let mut c: Self = file::parse(text)?;
        for path in
            [&mut c.data, &mut c.root, &mut c.token.pin_file, &mut c.tls.cert, &mut c.tls.key, &mut c.tls.ca]
        {
            *path = folder.join(&*path);
        }
        if let Some(path) = &mut c.jwks_ca_file {
            *path = folder.join(&*path);
        }
        c.check()?;
        Ok(c)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !address::is_region(&self.region) {
            let why = "1 to 16 of a-z, 0-9 and '-', as on the admission list";
            return Err(FieldError::new("region", why).into());
        }
        self.token.validate().map_err(ConfigError::Token)?;
        if !(1..=256).contains(&self.shards) {
            return Err(FieldError::new("shards", "1 to 256; fixed when the fleet is made").into());
        }
        self.raft.check()?;
        self.network.check()?;
        address::check("peers", &self.peers)?;
        self.listen.check()?;
        Ok(())
    }
}

impl Timings {
    fn check(&self) -> Result<(), FieldError> {
        if self.heartbeat_ms == 0
            || self.election_min_ms < 2 * self.heartbeat_ms
            || self.election_max_ms <= self.election_min_ms
        {
            let why = "election_max_ms > election_min_ms ≥ 2 × heartbeat_ms > 0 is needed";
            return Err(FieldError::new("raft", why));
        }
        if !(1..=3600).contains(&self.snapshot_every_s) {
            return Err(FieldError::new("raft", "1 ≤ snapshot_every_s ≤ 3600 is needed"));
        }
        Ok(())
    }
}

impl Listen {
    fn check(&self) -> Result<(), FieldError> {
        let ports = [self.peer, self.relay, self.admin, self.health];
        // With port 0 the system chooses a port.
        if ports.iter().enumerate().any(|(i, a)| a.port() != 0 && ports.iter().skip(i + 1).any(|b| a == b)) {
            let why = "each of peer, relay, admin and health needs an address of its own";
            return Err(FieldError::new("listen", why));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "vault_test.rs"]
pub(crate) mod tests;
