//! A fleet as it was asked for, checked: nothing that comes after `validate` sees an unchecked value.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Toleration;

use super::names::{FleetName, HostName, Image, RegionName};
use super::note::Note;
use super::object_names::ObjectNames;
use super::quantity::Quantity;
use crate::resource::{IssuerKind, LibraryDelivery, PullPolicy, ServiceType};

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

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hsm {
    /// SoftHSM 2.
    SoftHsm {
        /// Its PIN.
        pin: Pin,
        /// Size of its volume.
        token_storage: Quantity,
    },
    /// A PKCS#11 module.
    Pkcs11(Pkcs11),
    /// Google Cloud KMS.
    GcpKms {
        /// The key ring.
        key_ring: String,
        /// Image with the module.
        library_image: Image,
    },
    /// AWS CloudHSM.
    AwsCloudHsm {
        /// The cluster's id.
        cluster_id: String,
        /// Addresses of its HSMs.
        hsm_addresses: Vec<std::net::IpAddr>,
        /// ConfigMap with the cluster's own CA.
        customer_ca: KeyOf,
        /// Secret with `user:password`.
        pin: KeyOf,
        /// Image with the module.
        library_image: Image,
    },
}

impl Hsm {
    /// As in the status.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SoftHsm { .. } => "softhsm",
            Self::Pkcs11(_) => "pkcs11",
            Self::GcpKms { .. } => "gcpKms",
            Self::AwsCloudHsm { .. } => "awsCloudHsm",
        }
    }
}

/// Where a PIN comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The operator makes it.
    Made,
    /// A Secret.
    Given(KeyOf),
}

/// A PKCS#11 module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkcs11 {
    /// Image with the module.
    pub library_image: Image,
    /// How it gets to the vault.
    pub delivery: LibraryDelivery,
    /// Its path in that image.
    pub module_path: String,
    /// Folders to copy; never empty.
    pub library_dirs: Vec<String>,
    /// The token's label.
    pub token_label: String,
    /// Secret with the PIN.
    pub pin: KeyOf,
    /// Configuration files: whether it is a Secret, which key, in which folder.
    pub files: Vec<ModuleFile>,
    /// Environment.
    pub env: BTreeMap<String, String>,
}

/// A configuration file of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// Out of a Secret, else a ConfigMap.
    pub secret: bool,
    /// Which key; also the file's name.
    pub from: KeyOf,
    /// Folder that it appears in.
    pub mount_path: String,
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

/// ChatD.
#[derive(Clone, Debug, PartialEq)]
pub struct Chatd {
    /// How many pods.
    pub scaling: Scaling,
    /// How clients reach it.
    pub expose: Expose,
    /// CPU and memory.
    pub resources: Resources,
    /// Connections of one pod.
    pub connections_per_replica: u32,
    /// Connections from one address.
    pub connections_per_address: u32,
    /// Frames a second of one account.
    pub frames_per_second: u32,
}

/// How many pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// So many.
    Replicas(i32),
    /// As many as it takes.
    Automatic {
        /// At least.
        least: i32,
        /// At most.
        most: i32,
        /// Percent of the requested CPU.
        cpu: i32,
    },
}

/// How clients reach ChatD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expose {
    /// A Service.
    Service {
        /// Its type.
        kind: ServiceType,
        /// A fixed node port.
        node_port: Option<i32>,
        /// Its annotations.
        annotations: BTreeMap<String, String>,
        /// Host names.
        host_names: Vec<HostName>,
    },
    /// An Ingress.
    Ingress {
        /// Its class.
        class_name: Option<String>,
        /// Its host.
        host: HostName,
        /// Secret with its certificate.
        tls_secret: String,
        /// Its annotations.
        annotations: BTreeMap<String, String>,
    },
    /// An HTTPRoute.
    Gateway {
        /// Its Gateways.
        parents: Vec<Parent>,
        /// Host names.
        host_names: Vec<HostName>,
    },
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its listener.
    pub section_name: Option<String>,
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
        /// The issuer's kind.
        kind: IssuerKind,
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
