//! A vault's egress to a token outside its pod.

use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;

use super::super::{Input, Object};
use super::peers;
use crate::part::Part;
use crate::validate::{Hsm, Region};

/// Google's metadata servers, which give a pod its workload identity.
const METADATA: [(Ipv4Addr, u16); 2] =
    [(Ipv4Addr::new(169, 254, 169, 254), 80), (Ipv4Addr::new(169, 254, 169, 252), 988)];

/// One more policy for the region's vault. Policies are additive.
pub(super) fn policy(input: &Input<'_>, region: &Region) -> Option<Object> {
    let rules = match &region.hsm {
        Hsm::SoftHsm { .. } => return None,
        // Only the module's vendor knows its hosts and ports. A module that is cut off from its token would be hard to diagnose, so this vault may
        // connect to anywhere. Its ingress stays restricted.
        Hsm::Pkcs11(_) => vec![NetworkPolicyEgressRule::default()],
        Hsm::GcpKms { .. } => METADATA
            .into_iter()
            .map(|(address, port)| peers::to(Some(vec![peers::address(address.into())]), port))
            .chain([peers::to(None, 443)])
            .collect(),
        Hsm::AwsCloudHsm { hsm_addresses, .. } => vec![NetworkPolicyEgressRule {
            to: Some(hsm_addresses.iter().map(|a: &IpAddr| peers::address(*a)).collect()),
            ports: Some(vec![peers::port("TCP", 2_223, Some(2_225))]),
        }],
    };
    let part = Part::vault(input.fleet, &region.name);
    let name = input.fleet.names().hsm(&region.name);
    Some(super::policy(part, name, part.label_selector(), None, Some(rules)))
}
