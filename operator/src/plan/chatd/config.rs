//! `chatd.toml`, and the issuer's keys beside it.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

use bkv_config::chatd::{self as config, Config, FILE_NAME, KeySource, Limits, Listen, Tls, Tokens, Web};
use k8s_openapi::api::core::v1::ConfigMap;

use super::super::vault::{self, HEALTH, RELAY};
use super::super::{Input, Object};
use super::PUBLIC;
use crate::kinds::Kind;
use crate::part::Part;
use crate::paths::{self, file};
use crate::validate::{JwksSource, Postgres};

pub(super) fn chatd_toml(input: &Input<'_>) -> String {
    let (fleet, auth, chatd) = (input.fleet, &input.fleet.client_auth, &input.fleet.chatd);
    let listen = |port: u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let config = Config {
        listen: Listen {
            public: listen(PUBLIC),
            health: listen(HEALTH),
            trusted_proxies: chatd.trusted_proxies.clone(),
            proxy_protocol: chatd.proxy_protocol,
        },
        web: Web {
            cert: file(paths::WEB, paths::CERTIFICATE_FILE).into(),
            key: file(paths::WEB, paths::KEY_FILE).into(),
        },
        tls: Tls {
            cert: file(paths::TLS, paths::CERTIFICATE_FILE).into(),
            key: file(paths::TLS, paths::KEY_FILE).into(),
            ca: file(paths::TLS, paths::AUTHORITY_FILE).into(),
        },
        tokens: Tokens {
            issuer: auth.issuer.clone(),
            audience: auth.chatd_audience.clone(),
            ca_file: None,
            keys: match &auth.jwks {
                JwksSource::Url { url, .. } => KeySource::Url(url.clone()),
                JwksSource::ConfigMap(_) => KeySource::File(file(paths::CONFIG, paths::JWKS_FILE).into()),
            },
        },
        vaults: fleet
            .regions
            .iter()
            .map(|r| (r.name.to_string(), vault::address(fleet.names(), &fleet.namespace, r, RELAY)))
            .collect(),
        postgres: (fleet.postgres != Postgres::None)
            .then(|| config::Postgres { url_file: file(paths::POSTGRES, paths::URL_FILE).into() }),
        limits: Limits {
            connections: chatd.connections_per_replica,
            connections_per_address: chatd.connections_per_address,
            frames_per_second: chatd.frames_per_second,
            ..Limits::default()
        },
    };
    // Paths are UTF-8 here, so the configuration is always TOML. ChatD would refuse an empty file.
    toml::to_string(&config).unwrap_or_default()
}

pub(super) fn config_map(input: &Input<'_>, part: Part<'_>, config: String) -> Object {
    let name = input.fleet.names().chatd();
    let mut data: BTreeMap<String, String> = [(FILE_NAME.to_owned(), config)].into();
    if let (JwksSource::ConfigMap(_), Some(jwks)) = (&input.fleet.client_auth.jwks, &input.content.jwks) {
        data.insert(paths::JWKS_FILE.into(), jwks.clone());
    }
    let map = ConfigMap { metadata: part.owned(&name), data: Some(data), ..ConfigMap::default() };
    Object::of(Kind::ConfigMap, name, &map)
}
