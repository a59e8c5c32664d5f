//! `chatd.toml`, and the issuer's keys beside it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use super::super::part::Part;
use super::super::vault::{self, HEALTH, RELAY};
use super::super::{Input, Object};
use super::PUBLIC;
use crate::kinds::Kind;
use crate::validate::{JwksSource, Postgres};

#[derive(Serialize)]
struct ChatdToml<'a> {
    listen: Listen,
    web: Web,
    tls: Tls,
    tokens: Tokens<'a>,
    vaults: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postgres: Option<Database>,
    limits: Limits,
}

#[derive(Serialize)]
struct Listen {
    public: String,
    health: String,
}

#[derive(Serialize)]
struct Web {
    cert: &'static str,
    key: &'static str,
}

#[derive(Serialize)]
struct Tls {
    cert: &'static str,
    key: &'static str,
    ca: &'static str,
}

#[derive(Serialize)]
struct Tokens<'a> {
    issuer: &'a str,
    audience: &'a str,
    keys: Keys<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Keys<'a> {
    File(&'static str),
    Url(&'a str),
}

#[derive(Serialize)]
struct Database {
    url_file: &'static str,
}

#[derive(Serialize)]
struct Limits {
    connections: u32,
    connections_per_address: u32,
    frames_per_second: u32,
}

pub(super) fn chatd_toml(input: &Input<'_>) -> String {
    let (fleet, auth, limits) = (input.fleet, &input.fleet.client_auth, &input.fleet.chatd);
    let config = ChatdToml {
        listen: Listen { public: format!("0.0.0.0:{PUBLIC}"), health: format!("0.0.0.0:{HEALTH}") },
        web: Web { cert: "/etc/bkv-web/tls.crt", key: "/etc/bkv-web/tls.key" },
        tls: Tls { cert: "/etc/bkv-tls/tls.crt", key: "/etc/bkv-tls/tls.key", ca: "/etc/bkv-tls/ca.crt" },
        tokens: Tokens {
            issuer: &auth.issuer,
            audience: &auth.chatd_audience,
            keys: match &auth.jwks {
                JwksSource::Url { url, .. } => Keys::Url(url),
                JwksSource::ConfigMap(_) => Keys::File("/etc/bkv/jwks.json"),
            },
        },
        vaults: fleet
            .regions
            .iter()
            .map(|r| (r.name.as_str(), vault::address(fleet.names(), &fleet.namespace, r, RELAY)))
            .collect(),
        postgres: (fleet.postgres != Postgres::None)
            .then_some(Database { url_file: "/etc/bkv-postgres/url" }),
        limits: Limits {
            connections: limits.connections_per_replica,
            connections_per_address: limits.connections_per_address,
            frames_per_second: limits.frames_per_second,
        },
    };
    // A struct of texts, numbers and maps of texts is always TOML; ChatD would refuse an empty file, not misread it.
    toml::to_string(&config).unwrap_or_default()
}

pub(super) fn config_map(input: &Input<'_>, part: Part<'_>, config: String) -> Object {
    let name = input.fleet.names().chatd();
    let mut data: BTreeMap<String, String> = [("chatd.toml".to_owned(), config)].into();
    if let (JwksSource::ConfigMap(_), Some(jwks)) = (&input.fleet.client_auth.jwks, &input.content.jwks) {
        data.insert("jwks.json".into(), jwks.clone());
    }
    let map = ConfigMap { metadata: part.owned(&name), data: Some(data), ..ConfigMap::default() };
    Object::of(Kind::ConfigMap, name, &map)
}
