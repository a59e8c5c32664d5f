//! The managed database: one small pod. ChatD can rebuild its content from the vaults.

mod stateful_set;

use std::collections::BTreeMap;

use super::{Input, Object, pod, service};
use crate::part::{Component, Part};
use crate::validate::Postgres;

/// The port for ChatD.
pub(super) const PORT: u16 = 5_432;

pub(super) fn objects(input: &Input<'_>) -> Vec<Object> {
    let Postgres::Managed(storage) = &input.fleet.postgres else { return Vec::new() };
    let part = Part::of(input.fleet, Component::Postgres);
    let name = input.fleet.names().postgres();
    vec![
        pod::service_account(part, name.clone(), &BTreeMap::new()),
        service::inside(part, name, vec![service::port("postgres", PORT)]),
        stateful_set::stateful_set(input, part, storage),
    ]
}
