//! ChatD's database.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::storage::DatabaseStorage;

/// ChatD's database: set exactly one. If it is lost, ChatD's answers about keys are stale, and recoveries still work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.managed), has(self.external), has(self.cloudNativePG), has(self.none)].exists_one(x, x)").message("exactly one of managed, external, cloudNativePG, none must be set in postgres"))]
pub struct Postgres {
    /// The operator runs one small pod with a volume. It needs no backup: ChatD can rebuild it from the vaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedPostgres>,
    /// A database that you run, by its connection URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalPostgres>,
    /// A cluster of the CloudNativePG operator in this namespace.
    #[serde(rename = "cloudNativePG", default, skip_serializing_if = "Option::is_none")]
    pub cloud_native_pg: Option<CloudNativePg>,
    /// No database. ChatD then only relays the vaults' answers, and `/v1/account` always returns `stale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<NoPostgres>,
}

impl Postgres {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Postgres {
    fn default() -> Self {
        Self { managed: Some(ManagedPostgres::default()), external: None, cloud_native_pg: None, none: None }
    }
}

/// No options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoPostgres {}

/// A database that the operator runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedPostgres {
    /// The database's volume. Cannot change yet.
    #[serde(default)]
    pub storage: DatabaseStorage,
}

/// A database that you run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalPostgres {
    /// Secret with the connection URL.
    pub secret_ref: UriSecret,
}

/// A Secret with a connection URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UriSecret {
    /// Name of the Secret, in the namespace of this resource.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The key with the URL, such as `postgres://user:password@host/database?sslmode=verify-full&sslrootcert=/etc/bkv-postgres/ca.crt`.
    #[serde(default = "uri")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub uri_key: String,
}

fn uri() -> String {
    "uri".into()
}

/// A CloudNativePG cluster. ChatD reads the key `uri` of the Secret `<cluster>-app` and the CA in `<cluster>-ca`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudNativePg {
    /// Name of the Cluster, in the namespace of this resource.
    #[schemars(length(min = 1, max = 50), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub cluster: String,
}
