//! `vault.toml` and the module's own files. No secret is in them: PIN and keys are named by path.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use super::super::part::Part;
use super::super::{Input, Object};
use super::{ADMIN, HEALTH, PEER, RELAY, address, module};
use crate::kinds::Kind;
use crate::validate::{Region, RootCustody};

#[derive(Serialize)]
struct VaultToml<'a> {
    region: &'a str,
    data: &'static str,
    root: &'static str,
    shards: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    make_root: Option<MakeRoot<'a>>,
    token: Token<'a>,
    listen: Listen,
    peers: BTreeMap<&'a str, String>,
    tls: Tls,
}

/// The vault makes the root key, once.
#[derive(Serialize)]
struct MakeRoot<'a> {
    fleet: &'a str,
}

#[derive(Serialize)]
struct Token<'a> {
    module: &'a str,
    #[serde(rename = "token_label")]
    label: &'a str,
    pin_file: &'static str,
}

#[derive(Serialize)]
struct Listen {
    peer: String,
    relay: String,
    admin: String,
    health: String,
}

#[derive(Serialize)]
struct Tls {
    cert: &'static str,
    key: &'static str,
    ca: &'static str,
}

/// With an in-fleet root one vault makes it; the others wait for it to be published.
pub(super) fn is_seed(input: &Input<'_>, region: &Region) -> bool {
    input.fleet.root == RootCustody::InFleet && input.journal.seed == region.name.as_str()
}

/// File name → text.
pub(super) fn files(input: &Input<'_>, region: &Region) -> BTreeMap<String, String> {
    let fleet = input.fleet;
    let token = module::token(region);
    let seed = is_seed(input, region);
    let others = fleet.regions.iter().filter(|r| r.name != region.name);
    let listen = |port: i32| format!("0.0.0.0:{port}");
    let config = VaultToml {
        region: region.name.as_str(),
        data: "/var/lib/bkv",
        root: if seed { "/var/lib/bkv/root.bin" } else { "/etc/bkv-root/root.bin" },
        shards: fleet.shards,
        make_root: seed.then_some(MakeRoot { fleet: &input.journal.fleet_id }),
        token: Token { module: &token.path, label: &token.label, pin_file: "/etc/bkv-pin/pin" },
        listen: Listen {
            peer: listen(PEER),
            relay: listen(RELAY),
            admin: listen(ADMIN),
            health: listen(HEALTH),
        },
        peers: others.map(|r| (r.name.as_str(), address(fleet.names(), &fleet.namespace, r, PEER))).collect(),
        tls: Tls { cert: "/etc/bkv-tls/tls.crt", key: "/etc/bkv-tls/tls.key", ca: "/etc/bkv-tls/ca.crt" },
    };
    // A struct of texts, numbers and maps of texts is always TOML; a vault would refuse an empty file, not misread it.
    let mut files: BTreeMap<String, String> =
        [("vault.toml".to_owned(), toml::to_string(&config).unwrap_or_default())].into();
    files.extend(token.config);
    files
}

pub(super) fn config_map(part: Part<'_>, name: String, data: BTreeMap<String, String>) -> Object {
    let map = ConfigMap { metadata: part.owned(&name), data: Some(data), ..ConfigMap::default() };
    Object::of(Kind::ConfigMap, name, &map)
}
