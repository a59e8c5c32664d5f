//! The certificates that the fleet needs. The operator issues them itself or asks cert-manager.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Input, Object};
use crate::kinds::Kind;
use crate::part::{Component, Part};
use crate::validate::{Expose, Fleet, Postgres, Tls};

/// A role, as `services/mtls` knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A vault.
    Vault,
    /// ChatD.
    Chatd,
    /// Administration.
    Admin,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Chatd => "chatd",
            Self::Admin => "admin",
        }
    }
}

/// The holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A part of the fleet, towards the other parts. It has one URI name and is client and server.
    Role {
        /// Its role.
        role: Role,
        /// Its name in that role.
        name: String,
    },
    /// A server with DNS names.
    Server {
        /// Its names.
        names: Vec<String>,
    },
}

/// A certificate that must exist, with its key and `ca.crt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The Secret to put it into.
    pub secret: String,
    /// The holder.
    pub subject: Subject,
}

impl CertificateRequest {
    /// The URI name, if it has a role.
    pub fn uri(&self) -> Option<String> {
        match &self.subject {
            Subject::Role { role, name } => Some(format!("bkv://role/{}/{name}", role.name())),
            Subject::Server { .. } => None,
        }
    }

    /// The DNS names, if it is a server by name.
    pub fn dns(&self) -> &[String] {
        match &self.subject {
            Subject::Role { .. } => &[],
            Subject::Server { names } => names,
        }
    }
}

/// All certificates of the fleet.
///
/// They include the operator's own, of role admin. With `tls.builtin` it need not be stored: the operator has the CA and can issue it at any time.
pub fn certificates(fleet: &Fleet) -> Vec<CertificateRequest> {
    let names = fleet.names();
    let role = |secret: String, role, name: &str| CertificateRequest {
        secret,
        subject: Subject::Role { role, name: name.to_owned() },
    };
    let server = |secret: String, names: Vec<String>| CertificateRequest {
        secret,
        subject: Subject::Server { names },
    };
    let mut all = vec![role(names.admin(), Role::Admin, "operator")];
    all.extend(fleet.regions.iter().map(|r| role(names.vault_tls(&r.name), Role::Vault, r.name.as_str())));
    all.push(role(names.chatd_tls(), Role::Chatd, fleet.name.as_str()));
    let mut web = service_names(&names.chatd(), &fleet.namespace);
    for host in hosts(fleet) {
        if !web.contains(&host) {
            web.push(host);
        }
    }
    all.push(server(names.chatd_web(), web));
    if matches!(fleet.postgres, Postgres::Managed(_)) {
        all.push(server(names.postgres_tls(), service_names(&names.postgres(), &fleet.namespace)));
    }
    all
}

/// A Service's DNS names, from the shortest to the longest.
fn service_names(name: &str, namespace: &str) -> Vec<String> {
    ["", ".svc", ".svc.cluster.local"].map(|end| format!("{name}.{namespace}{end}")).into_iter().fold(
        vec![name.to_owned()],
        |mut all, next| {
            all.push(next);
            all
        },
    )
}

/// The DNS names of ChatD for clients.
fn hosts(fleet: &Fleet) -> Vec<String> {
    match &fleet.chatd.expose {
        Expose::Service { host_names, .. } | Expose::Gateway { host_names, .. } => {
            host_names.iter().map(ToString::to_string).collect()
        }
        Expose::Ingress { host, .. } => vec![host.to_string()],
    }
}

/// cert-manager's Certificates, if the spec chooses cert-manager and the cluster knows the kind.
pub(super) fn objects(input: &Input<'_>) -> Vec<Object> {
    let Tls::CertManager { issuer, leaf_validity } = &input.fleet.tls else { return Vec::new() };
    if !input.kinds.contains(&Kind::Certificate) {
        return Vec::new();
    }
    let issuer = json!({
        "group": "cert-manager.io",
        "kind": "Issuer",
        "name": issuer,
    });
    certificates(input.fleet).iter().map(|c| object(input.fleet, c, &issuer, *leaf_validity)).collect()
}

fn object(fleet: &Fleet, request: &CertificateRequest, issuer: &Value, validity: Duration) -> Object {
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
        "issuerRef": issuer,
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
