//! cert-manager's Certificates, for each certificate that the fleet needs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{Input, Object};
use crate::certificates::{AuthorityKind, CertificateRequest, Subject, requests};
use crate::kinds::Kind;
use crate::part::{Component, Part};
use crate::validate::{Fleet, Tls};

/// cert-manager's Certificates, if the spec chooses cert-manager and the cluster knows the kind.
pub(super) fn objects(input: &Input<'_>) -> Vec<Object> {
    let Tls::CertManager { issuer, web_issuer, leaf_validity } = &input.fleet.tls else { return Vec::new() };
    if !input.kinds.contains(&Kind::Certificate) {
        return Vec::new();
    }
    let signed = |request: &CertificateRequest| {
        let issuer = match request.authority {
            AuthorityKind::Role => issuer,
            AuthorityKind::Web => web_issuer,
        };
        object(input.fleet, request, issuer, *leaf_validity)
    };
    requests(input.fleet).iter().map(signed).collect()
}

fn object(fleet: &Fleet, request: &CertificateRequest, issuer: &str, validity: Duration) -> Object {
    let part = Part::of(fleet, Component::Pki);
    let usages: &[&str] = match request.subject {
        Subject::Role { .. } => &["digital signature", "server auth", "client auth"],
        Subject::Server { .. } => &["digital signature", "server auth"],
    };
    let mut spec = json!({
        "secretName": request.secret,
        "secretTemplate": { "labels": part.labels() },
        "duration": go(validity),
        "renewBefore": go(validity / 3),
        "privateKey": { "algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always" },
        "usages": usages,
        "issuerRef": { "group": "cert-manager.io", "kind": "Issuer", "name": issuer },
    });
    if let Some(map) = spec.as_object_mut() {
        match request.uri() {
            Some(uri) => map.insert("uris".into(), json!([uri])),
            None => map.insert("dnsNames".into(), json!(request.dns())),
        };
    }
    let metadata = part.owned_json(&request.secret, &BTreeMap::new());
    Object::of(Kind::Certificate, request.secret.clone(), &json!({ "metadata": metadata, "spec": spec }))
}

/// A duration in Go's spelling, because cert-manager stores it so. With another spelling each apply would differ from the stored object.
fn go(period: Duration) -> String {
    let seconds = period.as_secs();
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        (_, _) => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (seconds, text) in [(2_592_000, "720h0m0s"), (1_200, "20m0s"), (59, "59s"), (3_661, "1h1m1s")] {
            assert_eq!(go(Duration::from_secs(seconds)), text);
        }
    }
}
