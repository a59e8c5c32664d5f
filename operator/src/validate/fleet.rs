//! A fleet as the spec asks for it. Later stages see only these checked values.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;

use super::attempts::Attempts;
use super::chatd::Chatd;
use super::client_auth::ClientAuth;
use super::hsm::Hsm;
use super::images::Images;
use super::monitoring::Monitoring;
use super::names::{FleetName, RegionName};
use super::note::Note;
use super::object_names::ObjectNames;
use super::postgres::Postgres;
use super::resources::{Resources, Volume};
use super::root::RootCustody;
use super::tls::Tls;

/// A fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// The resource's name.
    pub name: FleetName,
    /// Its namespace.
    pub namespace: String,
    /// Its UID, for owner references.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Who keeps the root key.
    pub root: RootCustody,
    /// In the order of the spec; the first is in slot 1.
    pub regions: Vec<Region>,
    /// The attempt policy.
    pub attempts: Attempts,
    /// The issuer of the clients' access tokens.
    pub client_auth: ClientAuth,
    /// Raft groups.
    pub shards: u16,
    /// The front end.
    pub chatd: Chatd,
    /// Its database.
    pub postgres: Postgres,
    /// Who issues certificates.
    pub tls: Tls,
    /// Images that were asked for.
    pub images: Images,
    /// Make NetworkPolicies.
    pub network_policy: bool,
    /// Objects for Prometheus and Grafana.
    pub monitoring: Monitoring,
    /// Observe only.
    pub paused: bool,
    /// Why it is not for production.
    pub notes: Vec<Note>,
}

impl Fleet {
    /// The names of its objects.
    pub const fn names(&self) -> ObjectNames<'_> {
        ObjectNames::new(&self.name)
    }
}

/// A region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// 1 and up.
    pub slot: u8,
    /// Its name.
    pub name: RegionName,
    /// Its nodes.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that its vault tolerates.
    pub tolerations: Vec<Toleration>,
    /// Its vault's volume.
    pub storage: Volume,
    /// CPU and memory.
    pub resources: Resources,
    /// Its token.
    pub hsm: Hsm,
    /// Annotations of its ServiceAccount.
    pub service_account_annotations: BTreeMap<String, String>,
}
