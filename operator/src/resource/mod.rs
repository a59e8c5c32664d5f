//! The `BackupKeyVault` resource as Rust types: what a platform team writes (`spec`), what the operator answers (`status`). The CRD is generated from
//! these types and their descriptions are what `kubectl explain` says. No logic lives here; rules are CEL, checked by the API server.
#![allow(unreachable_pub)] // KubeSchema repeats each struct inside a function, with its visibility

mod attempts;
mod chatd;
mod client_auth;
mod crd;
mod fleet;
mod hsm;
mod images;
mod monitoring;
mod postgres;
mod region;
pub mod status;
mod storage;
mod tls;
mod values;

pub use attempts::Attempts;
pub use chatd::{
    Autoscaling, Chatd, ChatdLimits, Expose, GatewayExpose, GatewayParent, IngressExpose, ServiceExpose,
    ServiceType,
};
pub use client_auth::{Audiences, ClientAuth, Jwks};
pub use crd::{crd, crd_yaml};
pub use fleet::{FleetOptions, InFleetRoot, OfflineRoot, RootCustody};
pub use hsm::{AwsCloudHsm, GcpKms, Hsm, LibraryDelivery, ModuleEnv, MountedKey, Pkcs11, SoftHsm};
pub use images::{Images, PullPolicy};
pub use monitoring::{Monitoring, NetworkPolicyMode};
pub use postgres::{CloudNativePg, ExternalPostgres, ManagedPostgres, NoPostgres, Postgres, UriSecret};
pub use region::Region;
pub use status::BackupKeyVaultStatus;
pub use storage::{DatabaseStorage, Storage};
pub use tls::{BuiltinTls, CertManagerTls, IssuerReference, Tls};
pub use values::{KeyReference, Labels, NameReference, Period, Resources};

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A fleet of HSM-backed vaults in several regions that keep people's backup keys, with ChatD in front of it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bkv.dev",
    version = "v1alpha1",
    kind = "BackupKeyVault",
    doc = "A Backup Key Vault: HSM-backed vaults in several regions that keep people's backup keys under their passwords, and ChatD, which clients connect to.",
    plural = "backupkeyvaults",
    singular = "backupkeyvault",
    shortname = "bkv",
    category = "bkv",
    namespaced,
    status = "BackupKeyVaultStatus",
    derive = "PartialEq",
    selectable = ".spec.deletionPolicy",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Quorum", type_ = "integer", json_path = ".status.quorum.inSync"),
    printcolumn(name = "Voters", type_ = "integer", json_path = ".status.quorum.voters"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version.running"),
    printcolumn(name = "Waiting", type_ = "string", json_path = ".status.waits[0].check"),
    printcolumn(name = "HSM", type_ = "string", json_path = ".status.hsm.kind", priority = 1),
    printcolumn(name = "Root", type_ = "string", json_path = ".status.fleet.rootCustody", priority = 1),
    printcolumn(
        name = "Production",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='ProductionReady')].status",
        priority = 1
    ),
    printcolumn(name = "Operation", type_ = "string", json_path = ".status.operation.step", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 20 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 20 characters that starts with a letter (it is part of Service and StatefulSet names)")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupKeyVaultSpec {
    /// What the whole fleet shares: above all, who keeps its root key.
    #[serde(default)]
    pub fleet: FleetOptions,
    /// The regions, 1, 3, 5 or 7: one vault each, in failure domains of their own. With one region nobody is protected from that region's own people.
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.size() % 2 == 1").message("the number of regions must be odd (1, 3, 5 or 7)"),
        validation = Rule::new("self.size() == oldSelf.size() && self.all(r, oldSelf.exists(o, o.name == r.name))")
            .message("regions cannot be added or removed in v1alpha1 yet: make a new fleet, or wait for a release that changes membership")
            .reason(Reason::FieldValueForbidden)
    )]
    pub regions: Vec<Region>,
    /// The hardware token that each region's vault uses; a region may name its own instead.
    pub hsm: Hsm,
    /// How many wrong passwords a record survives and how long to wait between them. Frozen into each record when it is registered: an edit here
    /// refills nobody's guesses.
    #[serde(default)]
    pub attempts: Attempts,
    /// Whose tokens clients show: the issuer that your users log in with.
    pub client_auth: ClientAuth,
    /// Raft groups that accounts are spread over: more of them spread the work of leading over the regions more evenly. Fixed when the fleet is made.
    #[serde(default = "default_shards")]
    #[schemars(range(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("shards is immutable").reason(Reason::FieldValueForbidden))]
    pub shards: u16,
    /// The front end that clients connect to.
    #[serde(default)]
    pub chatd: Chatd,
    /// Where ChatD keeps what it knows of keys (that one exists, its state, dates, tries). It can be rebuilt from the vaults at
    /// any time. Exactly one of managed, external, cloudNativePG, none; default: managed.
    // No default in the schema, for the reason that `chatd.expose` has none.
    #[serde(default, skip_serializing_if = "Postgres::is_default")]
    pub postgres: Postgres,
    /// Certificates between ChatD, vaults and operator, and ChatD's own web certificate.
    #[serde(default)]
    pub tls: Tls,
    /// Images to run; default: those that the operator was released with, pinned when the fleet is made.
    #[serde(default)]
    pub images: Images,
    /// Managed: NetworkPolicies let only those parts talk to each other that must, where the cluster's network enforces it. None: none are made.
    #[serde(default)]
    pub network_policy: NetworkPolicyMode,
    /// What is made for Prometheus and Grafana, where the cluster knows those kinds.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// The operator observes and reports only; it changes nothing. Vaults and ChatD run on.
    #[serde(default)]
    pub paused: bool,
    /// What deleting this resource does to the vaults' volumes. Retain: they stay, with every key on them.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == 'Retain'").message("deletionPolicy Destroy is not supported yet: delete the volumes yourself once nobody needs a key in them"))]
    pub deletion_policy: DeletionPolicy,
}

const fn default_shards() -> u16 {
    16
}

/// What deleting the resource does to the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DeletionPolicy {
    /// Volumes and the fleet's journal stay.
    #[default]
    Retain,
    /// Every key is destroyed.
    Destroy,
}
