//! ChatD's allowed ingress and egress.

use super::super::chatd::PUBLIC;
use super::super::vault::{HEALTH, RELAY};
use super::super::{Input, Object, postgres};
use super::{peers, vault};
use crate::part::{Component, Part};
use crate::validate::Postgres;
use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};

pub(super) fn policy(input: &Input<'_>) -> Object {
    let part = Part::of(input.fleet, Component::Chatd);
    let ingress = vec![peers::from(None, PUBLIC), peers::from(Some(vec![peers::cluster()]), HEALTH)];
    let vaults = peers::pods(Part::of(input.fleet, Component::Vault));
    let egress = [peers::to(Some(vec![vaults]), RELAY), peers::dns()]
        .into_iter()
        .chain(database(input))
        .chain(vault::issuer(input));
    let pods = part.label_selector();
    super::policy(part, input.fleet.names().chatd(), pods, Some(ingress), Some(egress.collect()))
}

fn database(input: &Input<'_>) -> Option<NetworkPolicyEgressRule> {
    match &input.fleet.postgres {
        Postgres::Managed(_) => {
            let database = peers::pods(Part::of(input.fleet, Component::Postgres));
            Some(peers::to(Some(vec![database]), postgres::PORT))
        }
        Postgres::External(_) => {
            let port = input.content.external_port.unwrap_or(postgres::PORT);
            Some(peers::to(None, port))
        }
        Postgres::CloudNativePg { cluster } => {
            let database = NetworkPolicyPeer {
                pod_selector: Some(peers::labelled("cnpg.io/cluster", cluster)),
                ..NetworkPolicyPeer::default()
            };
            Some(peers::to(Some(vec![database]), postgres::PORT))
        }
        Postgres::None => None,
    }
}
