//! ChatD: account, configuration, Deployment, Service, scaling and access for clients.

mod access;
mod config;
mod database;
mod deployment;
mod gateway;
mod scaling;

use super::{Input, Object, pod};
use crate::part::{Component, Part};

/// The pod's port for clients.
pub(super) const PUBLIC: u16 = 8_443;

pub(super) fn objects(input: &Input<'_>) -> Vec<Object> {
    let part = Part::of(input.fleet, Component::Chatd);
    let name = input.fleet.names().chatd();
    let config = config::chatd_toml(input);
    let mut all = vec![
        pod::service_account(part, name, &std::collections::BTreeMap::new()),
        config::config_map(input, part, config.clone()),
        access::service(input, part),
        deployment::deployment(input, part, &config),
    ];
    all.extend(access::ingress(input, part));
    all.extend(gateway::objects(input, part));
    all.extend(scaling::autoscaler(input, part));
    all.extend(scaling::budget(input, part));
    all
}
