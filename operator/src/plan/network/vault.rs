//! The vaults' allowed ingress and egress.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};

use super::super::vault::{ADMIN, HEALTH, PEER, RELAY};
use super::super::{Input, Object};
use super::peers;
use crate::labels::MANAGER;
use crate::part::{Component, Part};
use crate::validate::JwksSource;

pub(super) fn policy(input: &Input<'_>) -> Object {
    let part = Part::of(input.fleet, Component::Vault);
    let vaults = peers::pods(part);
    let chatd = peers::pods(Part::of(input.fleet, Component::Chatd));
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(peers::labelled(
            "kubernetes.io/metadata.name",
            &input.settings.operator_namespace,
        )),
        pod_selector: Some(peers::labelled("app.kubernetes.io/name", MANAGER)),
        ip_block: None,
    };
    let ingress = vec![
        peers::from(Some(vec![vaults.clone()]), PEER),
        peers::from(Some(vec![chatd]), RELAY),
        peers::from(Some(vec![operator]), ADMIN),
        // A NetworkPolicy never blocks the kubelet's probes. This rule is for Prometheus.
        peers::from(Some(vec![peers::cluster()]), HEALTH),
    ];
    let egress =
        [peers::to(Some(vec![vaults]), PEER), peers::dns()].into_iter().chain(issuer(input)).collect();
    super::policy(part, input.fleet.names().vaults(), part.label_selector(), Some(ingress), Some(egress))
}

/// The issuer's keys, if they come by URL. A NetworkPolicy knows no host names.
pub(super) fn issuer(input: &Input<'_>) -> Option<NetworkPolicyEgressRule> {
    match input.fleet.client_auth.jwks {
        JwksSource::Url { port, .. } => Some(peers::to(None, port)),
        JwksSource::ConfigMap(_) => None,
    }
}
