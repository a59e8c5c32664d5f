//! One region's vault: account, configuration, Services, StatefulSet; and what all vaults share.

mod budget;
mod config;
mod library;
mod module;
mod presets;
mod stateful_set;
mod token;
mod volumes;

pub(super) use budget::budget;

use super::part::Part;
use super::{Input, Object, pod, service};
use crate::validate::{Fleet, Hsm, ObjectNames, Pin, Region};

/// Where other vaults reach it.
pub(super) const PEER: u16 = 7_100;
/// Where ChatD reaches it.
pub(super) const RELAY: u16 = 7_200;
/// Where the operator reaches it.
pub(crate) const ADMIN: u16 = 7_300;
/// `/livez`, `/readyz`, `/metrics`, of vaults and ChatD.
pub(crate) const HEALTH: u16 = 9_090;

pub(super) fn objects(input: &Input<'_>, region: &Region) -> Vec<Object> {
    let names = input.fleet.names();
    let part = Part::vault(input.fleet, &region.name);
    let config = config::files(input, region);
    vec![
        pod::service_account(part, names.vault(&region.name), &region.service_account_annotations),
        config::config_map(part, names.vault(&region.name), config.clone()),
        service::headless(
            part,
            names.vault(&region.name),
            [("peer", PEER), ("relay", RELAY), ("admin", ADMIN), ("health", HEALTH)]
                .map(|(name, port)| service::port(name, port))
                .into(),
        ),
        service::inside(part, names.relay(&region.name), vec![service::port("relay", RELAY)]),
        stateful_set::stateful_set(input, region, &config),
    ]
}

/// A PIN that the operator makes: a Secret with key `pin`, which outlives the resource as the token's volume does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRequest {
    /// The Secret.
    pub secret: String,
    /// For which region.
    pub region: String,
}

/// PINs that nobody gave. Google's module ignores its PIN, but a vault wants a file.
pub fn pins(fleet: &Fleet) -> Vec<PinRequest> {
    let made = fleet.regions.iter().filter(|r| given_pin(&r.hsm).is_none());
    made.map(|r| PinRequest { secret: fleet.names().pin(&r.name), region: r.name.to_string() }).collect()
}

fn given_pin(hsm: &Hsm) -> Option<&crate::validate::KeyOf> {
    match hsm {
        Hsm::SoftHsm { pin: Pin::Given(key), .. } | Hsm::AwsCloudHsm { pin: key, .. } => Some(key),
        Hsm::Pkcs11(module) => Some(&module.pin),
        Hsm::SoftHsm { pin: Pin::Made, .. } | Hsm::GcpKms { .. } => None,
    }
}

/// `N-R.NS.svc:port`.
pub(super) fn address(names: ObjectNames<'_>, namespace: &str, region: &Region, port: u16) -> String {
    format!("{}.{namespace}.svc:{port}", names.vault(&region.name))
}
