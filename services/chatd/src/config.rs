//! `chatd.toml`: read once into one typed value. No secret is in it: keys and the database's password are named by path.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bkv_tokens::KeySource;
use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// Certificate of the public listener, PEM.
    pub web: Web,
    /// Role certificate towards the vaults, PEM.
    pub tls: Tls,
    /// Whose tokens are taken.
    pub tokens: Tokens,
    /// Region → `host:port` of its vault's relay.
    pub vaults: BTreeMap<String, String>,
    /// Key metadata; without it answers are always stale.
    #[serde(default)]
    pub postgres: Option<Postgres>,
    /// What one client may do.
    #[serde(default)]
    pub limits: Limits,
}

/// Addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Clients, HTTPS.
    pub public: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`, in the clear.
    pub health: SocketAddr,
}

/// PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Chain.
    pub cert: PathBuf,
    /// Key.
    pub key: PathBuf,
}

/// PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Chain with `bkv://role/chatd/<name>`.
    pub cert: PathBuf,
    /// Key.
    pub key: PathBuf,
    /// The role CA.
    pub ca: PathBuf,
}

/// The issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// `iss`, exactly.
    pub issuer: String,
    /// `aud`, exactly; never the vault's.
    pub audience: String,
    /// Its keys: `{ file = "jwks.json" }`, `{ url = "https://…" }` or `{ inline = "…" }`.
    pub keys: KeySource,
}

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// File with the connection URL (it may hold a password).
    pub url_file: PathBuf,
}

/// Limits.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections in all.
    pub connections: u32,
    /// Connections of one account.
    pub connections_per_account: u32,
    /// Connections from one address.
    pub connections_per_address: u32,
    /// Streams of one connection.
    pub streams: usize,
    /// Frames a second of one account, and how many may be saved up.
    pub frames_per_second: u32,
    /// See `frames_per_second`.
    pub frames_burst: u32,
    /// Requests and frames a second of one address, and how many may be saved up. Many people share an address behind a carrier's gateway or a
    /// load balancer that does not pass addresses on.
    pub address_per_second: u32,
    /// See `address_per_second`.
    pub address_burst: u32,
    /// A connection without a word for so many seconds is closed.
    pub idle_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_account: 8,
            connections_per_address: 1_000,
            streams: 8,
            frames_per_second: 50,
            frames_burst: 200,
            address_per_second: 1_000,
            address_burst: 5_000,
            idle_seconds: 120,
        }
    }
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
        why: &'static str,
    },
}

impl Config {
    /// Reads and checks the file. Relative paths are relative to it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("."))).map_err(|e| match e {
            ConfigError::Parse { why, .. } => ConfigError::Parse { path: path.into(), why },
            e => e,
        })
    }

    /// From text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let mut c: Self = toml::from_str(text)
            .map_err(|e| ConfigError::Parse { path: PathBuf::new(), why: said(text, &e) })?;
        for path in [&mut c.web.cert, &mut c.web.key, &mut c.tls.cert, &mut c.tls.key, &mut c.tls.ca] {
            *path = folder.join(&*path);
        }
        if let Some(p) = &mut c.postgres {
            p.url_file = folder.join(&p.url_file);
        }
        if let KeySource::File(path) = &mut c.tokens.keys {
            *path = folder.join(&*path);
        }
        let field = |field, why| Err(ConfigError::Field { field, why });
        if c.listen.public.port() != 0 && c.listen.public == c.listen.health {
            return field("listen", "public and health need an address each");
        }
        if c.vaults.is_empty() {
            return field("vaults", "at least one region = \"host:port\"");
        }
        if c.vaults
            .values()
            .any(|a| a.rsplit_once(':').is_none_or(|(h, p)| h.is_empty() || p.parse::<u16>().is_err()))
        {
            return field("vaults", "each must be region = \"host:port\"");
        }
        let mut addresses: Vec<&String> = c.vaults.values().collect();
        addresses.sort_unstable();
        if addresses.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return field("vaults", "two regions have the same address: each vault has its own");
        }
        if c.tokens.issuer.is_empty() || c.tokens.audience.is_empty() {
            return field("tokens", "issuer and audience can't be empty");
        }
        let l = &c.limits;
        let counts = [
            l.connections,
            l.connections_per_account,
            l.connections_per_address,
            l.frames_per_second,
            l.frames_burst,
            l.address_per_second,
            l.address_burst,
        ];
        if l.streams == 0 || l.idle_seconds == 0 || counts.contains(&0) {
            return field("limits", "zero would refuse everybody");
        }
        Ok(c)
    }
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
[listen]
public = "127.0.0.1:1"
health = "127.0.0.1:2"
[web]
cert = "web.crt"
key = "web.key"
[tls]
cert = "tls.crt"
key = "tls.key"
ca = "ca.crt"
[tokens]
issuer = "https://issuer.example"
audience = "chatd"
keys = { file = "jwks.json" }
[vaults]
eu-west = "127.0.0.1:3"
"#;

    #[test]
    fn a_good_file_is_read() {
        let c = Config::parse(GOOD, Path::new("/srv")).unwrap();
        assert_eq!(c.web.cert, Path::new("/srv/web.crt"));
        assert!(matches!(c.tokens.keys, KeySource::File(p) if p == Path::new("/srv/jwks.json")));
    }

    #[test]
    fn every_bad_field_is_named() {
        let cases = [
            ("public = \"127.0.0.1:1\"", "public = \"x\"", "public"),
            ("audience = \"chatd\"", "audience = \"\"", "tokens"),
            ("eu-west = \"127.0.0.1:3\"", "", "vaults"),
            ("eu-west = \"127.0.0.1:3\"", "eu-west = \"127.0.0.1\"", "vaults"),
            ("ca = \"ca.crt\"", "cas = \"ca.crt\"", "cas"),
            ("[vaults]", "[limits]\nidle_seconds = 0\n[vaults]", "limits"),
            ("[vaults]", "[limits]\naddress_burst = 0\n[vaults]", "limits"),
            ("health = \"127.0.0.1:2\"", "health = \"127.0.0.1:1\"", "listen"),
            ("eu-west = \"127.0.0.1:3\"", "eu-west = \"127.0.0.1:3\"\nus-east = \"127.0.0.1:3\"", "vaults"),
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

        /// What clients and vaults send, and events of a newer vault.
        #[test]
        fn s38_arbitrary_frames_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            use prost::Message as _;
            let _ = bkv_wire::proto::outer::Frame::decode(&bytes[..]);
            let _ = minicbor::decode::<bkv_core::effect::Event>(&bytes);
        }
    }
}
