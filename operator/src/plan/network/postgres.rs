//! The managed database accepts connections from ChatD only, and opens none.

use super::super::postgres::PORT;
use super::super::{Input, Object};
use super::peers;
use crate::part::{Component, Part};
use crate::validate::Postgres;

pub(super) fn policy(input: &Input<'_>) -> Option<Object> {
    let Postgres::Managed(_) = input.fleet.postgres else { return None };
    let part = Part::of(input.fleet, Component::Postgres);
    let chatd = peers::pods(Part::of(input.fleet, Component::Chatd));
    let ingress = vec![peers::from(Some(vec![chatd]), PORT)];
    let name = input.fleet.names().postgres();
    Some(super::policy(part, name, part.label_selector(), Some(ingress), Some(Vec::new())))
}
