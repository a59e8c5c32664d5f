//! The `BackupKeyVault` resource as Rust types: what a platform team writes (`spec`) and what the operator reports (`status`). The CRD is generated from
//! these types, and `kubectl explain` prints their doc comments. No logic lives here. The rules are CEL, which the API server checks.
#![allow(unreachable_pub)] // KubeSchema repeats each struct inside a function, with its visibility

mod attempts;
mod chatd;
mod client_auth;
mod crd;
mod fleet;
mod hsm;
mod images;
mod monitoring;
mod network;
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
pub use network::Network;
pub use postgres::{CloudNativePg, ExternalPostgres, ManagedPostgres, NoPostgres, Postgres, UriSecret};
pub use region::Region;
pub use status::BackupKeyVaultStatus;
pub use storage::{DatabaseStorage, Storage};
pub use tls::{BuiltinTls, CertManagerTls, IssuerReference, Tls, WebIssuerReference};
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
    /// The regions: 1, 3, 5 or 7. Each has one vault and should be a failure domain of its own. A single region does not protect people from that region's own admins.
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.size() % 2 == 1").message("the number of regions must be odd (1, 3, 5 or 7)"),
        validation = Rule::new("self.size() == oldSelf.size() && self.all(r, oldSelf.exists(o, o.name == r.name))")
            .message("regions cannot be added or removed in v1alpha1 yet: make a new fleet, or wait for a release that changes membership")
            .reason(Reason::FieldValueForbidden)
    )]
    pub regions: Vec<Region>,
    /// The hardware token that each region's vault uses. A region can set its own instead.
    pub hsm: Hsm,
    /// How many wrong passwords a key survives, and how long people wait between them. Each registration keeps the values of its time: an edit here gives
    /// nobody new tries.
    #[serde(default)]
    pub attempts: Attempts,
    /// The issuer of your users' tokens.
    pub client_auth: ClientAuth,
    /// Number of Raft groups that the accounts are divided into. More groups spread the leaders' work more evenly over the regions. Immutable.
    #[serde(default = "default_shards")]
    #[schemars(range(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("shards is immutable").reason(Reason::FieldValueForbidden))]
    pub shards: u16,
    /// The front end that clients connect to.
    #[serde(default)]
    pub chatd: Chatd,
    /// ChatD's database: set exactly one of managed, external, cloudNativePG, none. Default: managed. It caches what ChatD knows about keys (existence, state,
    /// dates, tries left) and can be rebuilt from the vaults at any time.
    // No default in the schema, for the reason that `chatd.expose` has none.
    #[serde(default, skip_serializing_if = "Postgres::is_default")]
    pub postgres: Postgres,
    /// Certificates between ChatD, vaults and operator, and ChatD's own web certificate.
    #[serde(default)]
    pub tls: Tls,
    /// Images to run. Default: the images of the operator's release, pinned when the fleet is made.
    #[serde(default)]
    pub images: Images,
    /// How far the regions are apart.
    #[serde(default)]
    pub network: Network,
    /// Managed: the operator creates NetworkPolicies that allow only the connections that the parts need. They take effect if the cluster's network plugin enforces
    /// them. None: the operator creates no NetworkPolicies.
    #[serde(default)]
    pub network_policy: NetworkPolicyMode,
    /// Objects for Prometheus and Grafana.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// Set it to true to stop all changes: the operator then only observes and reports. Vaults and ChatD keep running.
    #[serde(default)]
    pub paused: bool,
    /// What happens to the vaults' volumes when you delete this resource. Retain: they stay, with every key on them.
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
