//! `chatd.toml`. It contains no secret, only the paths of files with the keys and the database's password.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, FieldError, address, file};

/// The file's name. The operator and `bkv dev` write the file under it.
pub const FILE_NAME: &str = "chatd.toml";

/// The whole file. Its text is hashed into the pod template: see the [crate](crate) before adding a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where ChatD listens.
    pub listen: Listen,
    /// Certificate of the public listener, PEM.
    pub web: Web,
    /// Role certificate towards the vaults, PEM.
    pub tls: Tls,
    /// The issuer whose access tokens ChatD accepts.
    pub tokens: Tokens,
    /// Region → `host:port` of its vault's relay.
    pub vaults: BTreeMap<String, String>,
    /// Key metadata. Without it ChatD's answers about keys are always stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
    /// Limits for clients.
    #[serde(default)]
    pub limits: Limits,
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// For clients, HTTPS.
    pub public: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`, without TLS.
    pub health: SocketAddr,
    /// Networks of the proxies in front of the public port. ChatD believes X-Forwarded-For and PROXY headers from these addresses alone. Any other client
    /// could choose the address under which it is counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNet>,
    /// Each connection from a trusted proxy begins with a PROXY protocol header of version 2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain with `bkv://role/chatd/<name>`.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The role CA.
    pub ca: PathBuf,
}

/// The issuer of access tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// `iss`, exactly.
    pub issuer: String,
    /// `aud`, exactly; never the vault's.
    pub audience: String,
    /// PEM file of the only authorities that may certify the server of `keys.url`. Default: the public authorities, which are compiled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The issuer's keys.
    pub keys: KeySource,
}

/// Where the issuer's keys (a JWKS) come from: `{ file = "jwks.json" }`, `{ url = "https://…" }` or `{ inline = "…" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// The JWKS itself.
    Inline(String),
    /// A file.
    File(PathBuf),
    /// An https address.
    Url(String),
}

/// The database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// File with the connection URL, which may contain a password.
    pub url_file: PathBuf,
}

/// Limits. The operator always writes `connections`, `connections_per_address` and `frames_per_second`. It writes the others only if they differ from
/// the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections in total.
    pub connections: u32,
    /// Connections of one account.
    #[serde(skip_serializing_if = "is::<PER_ACCOUNT>")]
    pub connections_per_account: u32,
    /// Connections from one address.
    pub connections_per_address: u32,
    /// Streams of one connection.
    #[serde(skip_serializing_if = "is_default_streams")]
    pub streams: usize,
    /// Frames per second of one account.
    pub frames_per_second: u32,
    /// Frames that one account may send in a burst.
    #[serde(skip_serializing_if = "is::<FRAMES_BURST>")]
    pub frames_burst: u32,
    /// Connections and requests per second of one address, before ChatD has checked a token. What an account sends counts for the account alone. Many
    /// users share an address behind a carrier's gateway, or behind a load balancer that does not forward client addresses.
    #[serde(skip_serializing_if = "is::<PER_ADDRESS>")]
    pub address_per_second: u32,
    /// Connections and requests that one address may make in a burst.
    #[serde(skip_serializing_if = "is::<ADDRESS_BURST>")]
    pub address_burst: u32,
    /// ChatD closes a connection on which no byte arrived for this many seconds.
    #[serde(skip_serializing_if = "is_default_idle")]
    pub idle_seconds: u64,
}

const PER_ACCOUNT: u32 = 8;
const STREAMS: usize = 8;
const FRAMES_BURST: u32 = 200;
const PER_ADDRESS: u32 = 1_000;
const ADDRESS_BURST: u32 = 5_000;
const IDLE: u64 = 120;

const fn is<const DEFAULT: u32>(n: &u32) -> bool {
    *n == DEFAULT
}
const fn is_default_streams(n: &usize) -> bool {
    *n == STREAMS
}
const fn is_default_idle(n: &u64) -> bool {
    *n == IDLE
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_account: PER_ACCOUNT,
            connections_per_address: 1_000,
            streams: STREAMS,
            frames_per_second: 50,
            frames_burst: FRAMES_BURST,
            address_per_second: PER_ADDRESS,
            address_burst: ADDRESS_BURST,
            idle_seconds: IDLE,
        }
    }
}

impl Config {
    /// Reads and checks the file. Relative paths in it start from its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        file::read(path, Self::parse)
    }

    /// From text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let mut c: Self = file::parse(text)?;
        for path in [&mut c.web.cert, &mut c.web.key, &mut c.tls.cert, &mut c.tls.key, &mut c.tls.ca] {
            *path = folder.join(&*path);
        }
        if let Some(p) = &mut c.postgres {
            p.url_file = folder.join(&p.url_file);
        }
        if let KeySource::File(path) = &mut c.tokens.keys {
            *path = folder.join(&*path);
        }
        if let Some(path) = &mut c.tokens.ca_file {
            *path = folder.join(&*path);
        }
        c.check()?;
        Ok(c)
    }

    fn check(&self) -> Result<(), FieldError> {
        if self.listen.public.port() != 0 && self.listen.public == self.listen.health {
            return Err(FieldError::new("listen", "public and health need an address each"));
        }
        self.listen.check_proxies()?;
        if self.vaults.is_empty() {
            return Err(FieldError::new("vaults", "at least one region = \"host:port\""));
        }
        address::check("vaults", &self.vaults)?;
        if self.tokens.issuer.is_empty() || self.tokens.audience.is_empty() {
            return Err(FieldError::new("tokens", "issuer and audience can't be empty"));
        }
        self.limits.check()
    }
}

impl Listen {
    fn check_proxies(&self) -> Result<(), FieldError> {
        if self.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
            return Err(FieldError::new(
                "listen.trusted_proxies",
                "a network of all addresses would let every client choose its address",
            ));
        }
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(FieldError::new(
                "listen.proxy_protocol",
                "needs trusted_proxies: no other connection may send the header",
            ));
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Result<(), FieldError> {
        let counts = [
            self.connections,
            self.connections_per_account,
            self.connections_per_address,
            self.frames_per_second,
            self.frames_burst,
            self.address_per_second,
            self.address_burst,
        ];
        if self.streams == 0 || self.idle_seconds == 0 || counts.contains(&0) {
            return Err(FieldError::new("limits", "zero would refuse every client"));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "chatd_test.rs"]
pub(crate) mod tests;
