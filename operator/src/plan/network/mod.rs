//! NetworkPolicies: only the parts that must talk to each other can, where the cluster's network enforces it. All traffic is authenticated besides.

mod chatd;
mod peers;
mod postgres;
mod token;
mod vault;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Input, Object};
use crate::kinds::Kind;
use crate::labels::VAULT;
use crate::part::{Component, Part};

pub(super) fn objects(input: &Input<'_>) -> Vec<Object> {
    if !input.fleet.network_policy {
        return Vec::new();
    }
    let mut all = vec![deny(input), vault::policy(input), chatd::policy(input)];
    all.extend(postgres::policy(input));
    all.extend(input.fleet.regions.iter().filter_map(|region| token::policy(input, region)));
    all
}

/// Forbids all other traffic to and from every pod of the fleet, also pods of components that a later release adds.
fn deny(input: &Input<'_>) -> Object {
    let part = Part::of(input.fleet, Component::Fleet);
    let labels = [(VAULT.to_owned(), input.fleet.name.to_string())];
    let all = LabelSelector { match_labels: Some(labels.into()), match_expressions: None };
    policy(part, input.fleet.names().deny(), all, Some(Vec::new()), Some(Vec::new()))
}

/// Builds a NetworkPolicy. It does not restrict a direction that is None.
fn policy(
    part: Part<'_>,
    name: String,
    pods: LabelSelector,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> Object {
    let types = [("Ingress", ingress.is_some()), ("Egress", egress.is_some())];
    let types = types.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()).collect();
    let policy = NetworkPolicy {
        metadata: part.owned(&name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            // Once the policy type is named, an empty list and no list mean the same. The API server returns no list.
            ingress: ingress.filter(|rules| !rules.is_empty()),
            egress: egress.filter(|rules| !rules.is_empty()),
            policy_types: Some(types),
        }),
    };
    Object::of(Kind::NetworkPolicy, name, &policy)
}
