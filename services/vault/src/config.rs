//! `vault.toml`: read once into one typed value. Whoever reads this file learns no secret: PIN and keys are named by path.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bkv_core::id::FleetId;
use bkv_hsm::TokenConfig;
use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The region's name, as on the admission list.
    pub region: String,
    /// Folder of the store. On another volume than a software token's directory.
    pub data: PathBuf,
    /// The pinned root: a file from `bkv ceremony root`, or from the vault that made an in-fleet root.
    pub root: PathBuf,
    /// Makes the root here, once: the in-fleet root's seed region only. `root` then says where its public half goes.
    #[serde(default)]
    pub make_root: Option<MakeRoot>,
    /// The hardware token.
    pub token: TokenConfig,
    /// Where it listens.
    pub listen: Listen,
    /// Region → `host:port` where the other vaults listen for peers.
    pub peers: BTreeMap<String, String>,
    /// Role certificate for ChatD and administration.
    pub tls: Tls,
    /// Raft groups; the policy must say the same.
    #[serde(default = "default_shards")]
    pub shards: u16,
    /// Timings.
    #[serde(default)]
    pub raft: Timings,
}

/// An in-fleet root to be made.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeRoot {
    /// Its fleet's id, 32 hex digits: whoever makes the fleet draws it.
    #[serde(deserialize_with = "fleet_id")]
    pub fleet: FleetId,
}

fn fleet_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<FleetId, D::Error> {
    let bad = || serde::de::Error::custom("32 hex digits, not all zero");
    let text = String::deserialize(deserializer)?;
    let bytes = hex::decode(text).map_err(|_| bad())?;
    FleetId::try_from(bytes.as_slice()).ok().filter(|id| id.0 != [0; 16]).ok_or_else(bad)
}

/// Addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Other vaults.
    pub peer: SocketAddr,
    /// ChatD.
    pub relay: SocketAddr,
    /// Administration.
    pub admin: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`, in the clear.
    pub health: SocketAddr,
}

/// PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain with `bkv://role/vault/<region>`.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The role CA.
    pub ca: PathBuf,
}

/// Raft timings.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timings {
    /// Between heartbeats, milliseconds.
    pub heartbeat_ms: u64,
    /// A follower stands for election after the leader's silence of `election_max_ms` and a random time between the two, milliseconds.
    pub election_min_ms: u64,
    /// See `election_min_ms`.
    pub election_max_ms: u64,
    /// Entries between snapshots.
    pub snapshot_entries: u64,
    /// Seconds between snapshots. What is in the log, keys that were destroyed since included, leaves it within twice this.
    pub snapshot_every_s: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 200,
            election_max_ms: 300,
            snapshot_entries: 4096,
            snapshot_every_s: 300,
        }
    }
}

const fn default_shards() -> u16 {
    4
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not readable.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML of this shape: the message names line and field.
    #[error("{}: {why}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// The parser's words.
        why: String,
    },
    /// A field's value.
    #[error("{field}: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What would be right.
        why: String,
    },
    /// A field of `[token]`.
    #[error("token.{0}")]
    Token(bkv_hsm::ConfigError),
}

impl Config {
    /// Reads and checks the file. Relative paths are relative to it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        // Absolute: the token's PIN file must be, and a file given as `vault.toml` lies in the folder "".
        let path =
            &std::path::absolute(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        Self::parse(&text, folder).map_err(|e| match e {
            ConfigError::Parse { why, .. } => ConfigError::Parse { path: path.into(), why },
            e => e,
        })
    }

    /// From text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let mut c: Self = toml::from_str(text)
            .map_err(|e| ConfigError::Parse { path: PathBuf::new(), why: said(text, &e) })?;
        for path in
            [&mut c.data, &mut c.root, &mut c.token.pin_file, &mut c.tls.cert, &mut c.tls.key, &mut c.tls.ca]
        {
            *path = folder.join(&*path);
        }
        c.check()?;
        Ok(c)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let field = |field, why: &str| Err(ConfigError::Field { field, why: why.into() });
        if !region_name(&self.region) {
            return field("region", "1 to 16 of a-z, 0-9 and '-', as on the admission list");
        }
        if let Err(e) = self.token.validate() {
            return Err(ConfigError::Token(e));
        }
        if !(1..=256).contains(&self.shards) {
            return field("shards", "1 to 256; fixed when the fleet is made");
        }
        let t = &self.raft;
        if t.heartbeat_ms == 0
            || t.election_min_ms < 2 * t.heartbeat_ms
            || t.election_max_ms <= t.election_min_ms
        {
            return field("raft", "election_max_ms > election_min_ms ≥ 2 × heartbeat_ms > 0 is needed");
        }
        if !(1..=3600).contains(&t.snapshot_every_s) {
            return field("raft", "1 ≤ snapshot_every_s ≤ 3600 is needed");
        }
        if let Some((region, _)) = self
            .peers
            .iter()
            .find(|(_, a)| a.rsplit_once(':').is_none_or(|(h, p)| h.is_empty() || p.parse::<u16>().is_err()))
        {
            return Err(ConfigError::Field {
                field: "peers",
                why: format!("`{region}` must be \"host:port\""),
            });
        }
        if let Some(region) = self.peers.keys().find(|r| !region_name(r)) {
            return Err(ConfigError::Field {
                field: "peers",
                why: format!("`{region}` is no region's name"),
            });
        }
        let mut addresses: Vec<&String> = self.peers.values().collect();
        addresses.sort_unstable();
        if let Some(twice) =
            addresses.windows(2).find_map(|p| matches!(p, [a, b] if a == b).then(|| p.first()))
        {
            let twice = twice.map_or("", |a| a.as_str());
            return Err(ConfigError::Field { field: "peers", why: format!("two regions are at {twice}") });
        }
        let ports = [self.listen.peer, self.listen.relay, self.listen.admin, self.listen.health];
        if ports.iter().enumerate().any(|(i, a)| a.port() != 0 && ports.iter().skip(i + 1).any(|b| a == b)) {
            return field("listen", "each of peer, relay, admin and health needs an address of its own");
        }
        Ok(())
    }
}

fn region_name(name: &str) -> bool {
    bkv_hsm::VaultName::new(name).is_ok() && name.len() <= 16
}

/// What the parser says, with line and field. Never the line itself, as the parser would show it: a PIN or password that was written into the
/// wrong place must not get into a log too.
fn said(text: &str, e: &toml::de::Error) -> String {
    let at = e.span().map_or(0, |s| s.start);
    let before = text.get(..at).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    match line.split_once('=') {
        Some((field, _)) => format!("line {number}, `{}`: {}", field.trim(), e.message()),
        None => format!("line {number}: {}", e.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
region = "eu-west"
data = "data"
root = "/etc/bkv/root.bin"
shards = 4
[token]
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "eu-west"
pin_file = "pin"
[listen]
peer = "127.0.0.1:1"
relay = "127.0.0.1:2"
admin = "127.0.0.1:3"
health = "127.0.0.1:4"
[peers]
us-east = "10.0.0.2:7000"
[tls]
cert = "tls.crt"
key = "tls.key"
ca = "ca.crt"
"#;

    #[test]
    fn a_good_file_is_read_and_its_paths_are_relative_to_it() {
        let c = Config::parse(GOOD, Path::new("/srv/vault")).unwrap();
        assert_eq!(c.data, Path::new("/srv/vault/data"));
        assert_eq!(c.root, Path::new("/etc/bkv/root.bin"));
    }

    #[test]
    fn a_seed_region_makes_the_root_of_the_named_fleet() {
        assert!(Config::parse(GOOD, Path::new("/")).unwrap().make_root.is_none());
        let text =
            GOOD.replace("[listen]", "[make_root]\nfleet = \"000102030405060708090a0b0c0d0e0f\"\n[listen]");
        let made = Config::parse(&text, Path::new("/")).unwrap().make_root.unwrap();
        assert_eq!(made.fleet.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn every_bad_field_is_named() {
        let cases = [
            ("region = \"eu-west\"", "region = \"eu west\"", "region"),
            ("shards = 4", "shards = 0", "shards"),
            ("shards = 4", "shard = 4", "shard"),
            ("peer = \"127.0.0.1:1\"", "peer = \"nowhere\"", "peer"),
            ("relay = \"127.0.0.1:2\"", "relay = \"127.0.0.1:1\"", "listen"),
            ("us-east = \"10.0.0.2:7000\"", "us-east = \"10.0.0.2\"", "us-east"),
            ("pin_file = \"pin\"", "pin = \"1234\"", "pin"),
            ("ca = \"ca.crt\"", "", "ca"),
            ("[listen]", "[make_root]\nfleet = \"00112233\"\n[listen]", "fleet"),
            ("[listen]", "[make_root]\nfleet = \"00000000000000000000000000000000\"\n[listen]", "fleet"),
            ("[listen]", "[make_root]\nkey = \"k\"\n[listen]", "key"),
            ("module = \"/usr", "module = \"usr", "token.module"),
            ("pin_file = \"pin\"", "pin_file = \"pin\"\npool = 0", "token.pool"),
            (
                "us-east = \"10.0.0.2:7000\"",
                "us-east = \"10.0.0.2:7000\"\neu-north = \"10.0.0.2:7000\"",
                "peers",
            ),
            ("us-east = \"10.0.0.2:7000\"", "\"US east\" = \"10.0.0.2:7000\"", "peers"),
        ];
        for (from, to, name) in cases {
            let e = Config::parse(&GOOD.replace(from, to), Path::new("/")).unwrap_err().to_string();
            assert!(e.contains(name), "{name}: {e}");
        }
    }

    proptest::proptest! {
        #[test]
        fn s38_arbitrary_and_changed_files_are_refused_or_read(text in ".{0,200}", at: proptest::sample::Index, to in 0x20u8..0x7f) {
            proptest::prop_assert!(Config::parse(&text, Path::new("/")).is_err());
            let mut bytes = GOOD.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = Config::parse(std::str::from_utf8(&bytes).unwrap(), Path::new("/"));
        }
    }
}
