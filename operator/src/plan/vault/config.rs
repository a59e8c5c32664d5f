//! `vault.toml` and the module's own files. They hold no secret: PIN and keys are named by path.
//!
//! Their text is hashed into the pod template. Read the module comment of `bkv-config` before you add a key.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

use bkv_config::TokenConfig;
use bkv_config::vault::{Config, FILE_NAME, Listen, MakeRoot, Network, Timings, Tls, Volume};
use bkv_core::id::FleetId;
use k8s_openapi::api::core::v1::ConfigMap;

use super::super::{Input, Object};
use super::{ADMIN, HEALTH, PEER, RELAY, address, module};
use crate::kinds::Kind;
use crate::part::Part;
use crate::paths::{self, file};
use crate::validate::{Region, RootCustody};

/// Whether this region's vault makes the in-fleet root. The other vaults wait until it is published.
pub(super) fn is_seed(input: &Input<'_>, region: &Region) -> bool {
    input.fleet.root == RootCustody::InFleet && input.journal.seed == region.name.as_str()
}

/// File name → text.
pub(super) fn files(input: &Input<'_>, region: &Region) -> BTreeMap<String, String> {
    let fleet = input.fleet;
    let token = module::token(region);
    let seed = is_seed(input, region);
    let others = fleet.regions.iter().filter(|r| r.name != region.name);
    let listen = |port: u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let config = Config {
        region: region.name.to_string(),
        data: paths::DATA.into(),
        root: file(if seed { paths::DATA } else { paths::ROOT }, paths::ROOT_FILE).into(),
        shards: fleet.shards,
        jwks_ca_file: None,
        make_root: seed.then(|| MakeRoot { fleet: fleet_id(&input.journal.fleet) }),
        token: TokenConfig::new(token.path.into(), token.label, file(paths::PIN, paths::PIN_FILE).into()),
        listen: Listen {
            peer: listen(PEER),
            relay: listen(RELAY),
            admin: listen(ADMIN),
            health: listen(HEALTH),
        },
        peers: others
            .map(|r| (r.name.to_string(), address(fleet.names(), &fleet.namespace, r, PEER)))
            .collect(),
        tls: Tls {
            cert: file(paths::TLS, paths::CERTIFICATE_FILE).into(),
            key: file(paths::TLS, paths::KEY_FILE).into(),
            ca: file(paths::TLS, paths::AUTHORITY_FILE).into(),
        },
        raft: Timings::default(),
        network: Network { max_round_trip_ms: fleet.max_round_trip_ms },
        volume: Volume::default(),
    };
    // Paths are UTF-8 here, so the configuration is always TOML. A vault would refuse an empty file.
    let mut files: BTreeMap<String, String> =
        [(FILE_NAME.to_owned(), toml::to_string(&config).unwrap_or_default())].into();
    files.extend(token.config);
    files
}

/// The journal's id. A vault refuses the id of zeros that an edited journal would give.
fn fleet_id(journal: &str) -> FleetId {
    let bytes = hex::decode(journal).unwrap_or_default();
    FleetId::try_from(bytes.as_slice()).unwrap_or(FleetId([0; 16]))
}

pub(super) fn config_map(part: Part<'_>, name: String, data: BTreeMap<String, String>) -> Object {
    let map = ConfigMap { metadata: part.owned(&name), data: Some(data), ..ConfigMap::default() };
    Object::of(Kind::ConfigMap, name, &map)
}
