//! One region's vault: account, configuration, Services, StatefulSet. Also the parts that all vaults share.

mod budget;
mod config;
mod library;
mod module;
mod presets;
mod stateful_set;
mod token;
mod volumes;

pub(super) use budget::budget;

use super::{Input, Object, pod, service};
use crate::part::Part;
use crate::validate::{Fleet, Hsm, ObjectNames, Pin, Region};

/// The port for other vaults.
pub(super) const PEER: u16 = 7_100;
/// The port for ChatD.
pub(super) const RELAY: u16 = 7_200;
/// The port for the operator.
pub(crate) const ADMIN: u16 = 7_300;
/// The port of `/livez`, `/readyz` and `/metrics`, of vaults and ChatD.
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

/// A PIN that the operator makes. Its Secret has the key `pin` and outlives the resource, like the token's volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRequest {
    /// The Secret.
    pub secret: String,
    /// For which region.
    pub region: String,
}

/// The PINs that the spec does not name. Google's module ignores its PIN, but a vault requires the file.
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
