//! A fleet as it was asked for, checked: nothing that comes after `validate` sees an unchecked value.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Toleration;

use super::front::Chatd;
use super::names::{FleetName, Image, RegionName};
use super::note::Note;
use super::object_names::ObjectNames;
use super::quantity::Quantity;
use super::token::Hsm;
use crate::resource::PullPolicy;

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
    /// Whose tokens clients show.
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
    /// What is made for Prometheus and Grafana.
    pub monitoring: Monitoring,
    /// Observe only.
    pub paused: bool,
    /// Why it is not for production.
    pub notes: Vec<Note>,
}

impl Fleet {
    /// What its objects are called.
    pub const fn names(&self) -> ObjectNames<'_> {
        ObjectNames::new(&self.name)
    }
}

/// A key in a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOf {
    /// The object's name.
    pub name: String,
    /// The key.
    pub key: String,
}

/// Who keeps the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCustody {
    /// The vaults.
    InFleet,
    /// People.
    Offline {
        /// ConfigMap with the public root.
        root: KeyOf,
        /// ConfigMap that signed documents are put into.
        signed: String,
    },
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

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its size.
    pub size: Quantity,
    /// Its StorageClass, if not the cluster's own.
    pub class_name: Option<String>,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// `cpu`, `memory` → set aside.
    pub requests: BTreeMap<&'static str, Quantity>,
    /// `cpu`, `memory` → at most.
    pub limits: BTreeMap<&'static str, Quantity>,
}

/// The attempt policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// Wrong guesses between two right ones.
    pub max: u32,
    /// Wrong guesses over a registration's life.
    pub lifetime_failures: u32,
    /// Waits, milliseconds.
    pub waits: Vec<u64>,
}

/// Whose tokens clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// `iss`.
    pub issuer: String,
    /// Its keys.
    pub jwks: JwksSource,
    /// `aud` for ChatD.
    pub chatd_audience: String,
    /// `aud` for vaults.
    pub vault_audience: String,
    /// Claim that numbers enrolments.
    pub enrolment_claim: Option<String>,
}

/// Where the issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// An https URL.
    Url {
        /// The URL.
        url: String,
        /// Its port.
        port: u16,
    },
    /// A ConfigMap.
    ConfigMap(KeyOf),
}

/// ChatD's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Postgres {
    /// Ours.
    Managed(Volume),
    /// Yours.
    External(KeyOf),
    /// CloudNativePG's.
    CloudNativePg {
        /// The Cluster's name.
        cluster: String,
    },
    /// None.
    None,
}

/// Who issues certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// The operator.
    Builtin {
        /// How long a CA is valid.
        ca_validity: Duration,
        /// How long a certificate is valid.
        leaf_validity: Duration,
    },
    /// cert-manager.
    CertManager {
        /// The issuer's name.
        issuer: String,
        /// How long a certificate is valid.
        leaf_validity: Duration,
    },
}

/// Images that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// The vault's.
    pub vault: Option<Image>,
    /// ChatD's.
    pub chatd: Option<Image>,
    /// Postgres'.
    pub postgres: Option<Image>,
    /// When they are pulled.
    pub pull_policy: Option<PullPolicy>,
    /// Secrets for pulling.
    pub pull_secrets: Vec<String>,
}

/// What is made for Prometheus and Grafana.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Monitoring {
    /// A PodMonitor.
    pub pod_monitor: bool,
    /// A PrometheusRule.
    pub prometheus_rule: bool,
    /// A dashboard.
    pub dashboard: bool,
    /// More labels.
    pub labels: BTreeMap<String, String>,
}
