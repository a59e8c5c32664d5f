//! The certificates that a fleet needs. The operator issues them itself or asks cert-manager.

use crate::validate::{Expose, Fleet, Postgres};

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

/// Who signs a certificate. Clients trust the authority of the web. If it signed roles too, an attacker who has its key could open the vaults' ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorityKind {
    /// Signs roles, and the certificate of the managed database, which ChatD alone verifies.
    Role,
    /// Signs ChatD's public certificate alone.
    Web,
}

impl AuthorityKind {
    /// As the common names of authorities have it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Web => "web",
        }
    }
}

/// A certificate that must exist, with its key and `ca.crt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The Secret to put it into.
    pub secret: String,
    /// The holder.
    pub subject: Subject,
    /// Who signs it.
    pub authority: AuthorityKind,
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
pub fn requests(fleet: &Fleet) -> Vec<CertificateRequest> {
    let names = fleet.names();
    let role = |secret: String, role, name: &str| CertificateRequest {
        secret,
        subject: Subject::Role { role, name: name.to_owned() },
        authority: AuthorityKind::Role,
    };
    let server = |secret: String, names: Vec<String>, authority| CertificateRequest {
        secret,
        subject: Subject::Server { names },
        authority,
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
    all.push(server(names.chatd_web(), web, AuthorityKind::Web));
    if matches!(fleet.postgres, Postgres::Managed(_)) {
        let services = service_names(&names.postgres(), &fleet.namespace);
        all.push(server(names.postgres_tls(), services, AuthorityKind::Role));
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
