//! Short constructors for peers and rules.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::part::Part;

/// Pods of a part, in the fleet's namespace.
pub(super) fn pods(part: Part<'_>) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(part.label_selector()), ..NetworkPolicyPeer::default() }
}

/// Any pod of the cluster.
pub(super) fn cluster() -> NetworkPolicyPeer {
    NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() }
}

pub(super) fn labelled(label: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(label.to_owned(), value.to_owned())].into()),
        match_expressions: None,
    }
}

/// One address.
pub(super) fn address(address: IpAddr) -> NetworkPolicyPeer {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: format!("{address}/{bits}"), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

pub(super) fn port(protocol: &str, number: u16, end: Option<u16>) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.into()),
        port: Some(IntOrString::Int(number.into())),
        end_port: end.map(i32::from),
    }
}

pub(super) fn tcp(number: u16) -> Vec<NetworkPolicyPort> {
    vec![port("TCP", number, None)]
}

/// Ingress from these peers, or from anywhere.
pub(super) fn from(peers: Option<Vec<NetworkPolicyPeer>>, number: u16) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: peers, ports: Some(tcp(number)) }
}

/// Egress to these peers, or to anywhere.
pub(super) fn to(peers: Option<Vec<NetworkPolicyPeer>>, number: u16) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: peers, ports: Some(tcp(number)) }
}

/// DNS to anywhere: a DNS cache on the node is not a pod that a policy could select.
pub(super) fn dns() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: None, ports: Some(vec![port("UDP", 53, None), port("TCP", 53, None)]) }
}
