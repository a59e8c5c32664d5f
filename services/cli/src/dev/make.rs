//! Makes what the programs need before they start: root, issuer, CAs, tokens, configuration files.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bkv_config::{TokenConfig, chatd, vault};
use bkv_hsm::softhsm;
use bkv_mtls::issue::{RoleCa, WebCa, write_private};
use bkv_mtls::{Role, RoleName};
use bkv_tokens::dev::{CHATD_AUDIENCE, DevIssuer, ISSUER};
use rand::RngCore as _;
use serde::Serialize;
use thiserror_ext::AsReport as _;
use zeroize::Zeroizing;

use super::layout::Layout;
use super::plan::RegionPlan;
use crate::commands::make_root;
use crate::exit::{Exit, Failure, Outcome};
use crate::profile::Profile;

/// Certificates of a local fleet hold this long.
const YEAR: Duration = Duration::from_hours(24 * 365);
/// The names of this machine in certificates of servers.
const HOSTS: &[&str] = &["127.0.0.1", "localhost"];

fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> Failure + '_ {
    move |e| Failure::new(Exit::CantCreate, format!("{what}: {e}"))
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|e| failed(&path.display().to_string())(&e))
}

/// Makes all files that a new fleet needs.
pub(crate) fn files(layout: &Layout) -> Outcome {
    make_root(&layout.root_key(), &layout.root(), true)?;
    let issuer = DevIssuer::generate(ISSUER).map_err(|e| failed("issuer")(&e))?;
    fs::create_dir_all(layout.dir.join("issuer")).map_err(|e| failed("issuer")(&e))?;
    write_private(&layout.issuer_key(), issuer.pkcs8()).map_err(|e| failed("issuer")(&e))?;
    write(&layout.jwks(), &issuer.jwks())?;
    let ca = RoleCa::generate().map_err(|e| failed("role CA")(&e))?;
    role(&ca, &layout.admin(), Role::Admin, "dev")?;
    for region in &layout.plan.regions {
        vault(layout, &ca, region)?;
    }
    chatd(layout, &ca)?;
    web(layout)?;
    let profile = Profile {
        chatd: format!("https://{}", local(layout.plan.chatd)),
        root: "root.bin".into(),
        chatd_ca: Some("chatd/web-ca.crt".into()),
    };
    toml(&layout.dir.join("fleet.toml"), &profile)
}

fn role(ca: &RoleCa, folder: &Path, role: Role, name: &str) -> Outcome {
    let name = RoleName::new(role, name).map_err(|e| failed("role")(&e))?;
    ca.write_role(folder, &name, YEAR).map_err(|e| failed("certificate")(&e))?;
    Ok(())
}

fn digits() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0u8; 8]);
    rand::rngs::OsRng.fill_bytes(bytes.as_mut_slice());
    Zeroizing::new(hex::encode(bytes.as_slice()))
}

/// Every region's address on one of its ports.
fn addresses(layout: &Layout, port: impl Fn(&RegionPlan) -> u16) -> BTreeMap<String, String> {
    layout.plan.regions.iter().map(|r| (r.name.clone(), local(port(r)).to_string())).collect()
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn toml(path: &Path, config: &impl Serialize) -> Outcome {
    let text = toml::to_string(config).map_err(|e| failed(&path.display().to_string())(&e))?;
    write(path, &format!("# Of a development fleet, which protects nobody.\n{text}"))
}

fn vault(layout: &Layout, ca: &RoleCa, region: &RegionPlan) -> Outcome {
    let folder = layout.region(&region.name);
    fs::create_dir_all(&folder).map_err(|e| failed(&folder.display().to_string())(&e))?;
    let name = RoleName::new(Role::Vault, &region.name).map_err(|e| failed("role")(&e))?;
    // The vaults' own clients look at the role only. With a host name `curl` can check the administration port too.
    ca.write_server(&folder.join("tls"), &name, HOSTS, YEAR).map_err(|e| failed("certificate")(&e))?;
    let (pin, so_pin) = (digits(), digits());
    write_private(&folder.join("pin"), pin.as_bytes()).map_err(|e| failed("pin")(&e))?;
    softhsm::init_token(&folder.join("token"), &region.name, &pin, &so_pin)
        .map_err(|e| failed("token")(&e.as_report()))?;
    let token = TokenConfig::new(softhsm::DEBIAN_MODULE.into(), region.name.clone(), "pin".into());
    let config = vault::Config {
        region: region.name.clone(),
        data: "data".into(),
        root: "../../root.bin".into(),
        shards: layout.plan.shards,
        jwks_ca_file: None,
        make_root: None,
        token: TokenConfig { pool: 2, ..token },
        listen: vault::Listen {
            peer: local(region.peer),
            relay: local(region.relay),
            admin: local(region.admin),
            health: local(region.health),
        },
        peers: addresses(layout, RegionPlan::peer_for_others),
        tls: vault::Tls { cert: "tls/tls.crt".into(), key: "tls/tls.key".into(), ca: "tls/ca.crt".into() },
        raft: vault::Timings::default(),
        network: vault::Network { max_round_trip_ms: layout.plan.max_round_trip_ms },
        // All vaults of a development fleet share a disk, and nobody restarts them on a full one.
        volume: vault::Volume { reserve_mib: 0, ..vault::Volume::default() },
    };
    toml(&folder.join(bkv_config::vault::FILE_NAME), &config)
}

/// ChatD's public certificate. Its CA is not the role CA, because clients trust it.
fn web(layout: &Layout) -> Outcome {
    let ca = WebCa::generate().map_err(|e| failed("web CA")(&e))?;
    let web = ca.issue(HOSTS, YEAR).map_err(|e| failed("certificate")(&e))?;
    let files = [("web-ca.crt", ca.certificate_pem()), ("web.crt", &web.certificate), ("web.key", &web.key)];
    for (name, text) in files {
        write_private(&layout.chatd().join(name), text.as_bytes()).map_err(|e| failed(name)(&e))?;
    }
    Ok(())
}

fn chatd(layout: &Layout, ca: &RoleCa) -> Outcome {
    let folder = layout.chatd();
    role(ca, &folder, Role::Chatd, "dev")?;
    if layout.plan.postgres {
        let url = format!("postgres:///postgres?host={}&user=bkv", layout.socket().display());
        write_private(&folder.join("postgres.url"), url.as_bytes())
            .map_err(|e| failed("postgres.url")(&e))?;
    }
    let config = chatd::Config {
        listen: chatd::Listen {
            public: local(layout.plan.chatd),
            health: local(layout.plan.chatd_health),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
        },
        web: chatd::Web { cert: "web.crt".into(), key: "web.key".into() },
        tls: chatd::Tls { cert: "tls.crt".into(), key: "tls.key".into(), ca: "ca.crt".into() },
        tokens: chatd::Tokens {
            issuer: ISSUER.into(),
            audience: CHATD_AUDIENCE.into(),
            ca_file: None,
            keys: chatd::KeySource::File("../issuer/jwks.json".into()),
        },
        vaults: addresses(layout, |r| r.relay),
        postgres: layout.plan.postgres.then(|| chatd::Postgres { url_file: "postgres.url".into() }),
        // Every client comes from this machine.
        limits: chatd::Limits {
            connections_per_address: 50_000,
            frames_per_second: 2_000,
            frames_burst: 10_000,
            address_per_second: 1_000_000,
            address_burst: 1_000_000,
            ..chatd::Limits::default()
        },
    };
    toml(&folder.join(bkv_config::chatd::FILE_NAME), &config)
}
