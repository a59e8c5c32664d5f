//! ChatD's database.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::storage::DatabaseStorage;

/// ChatD's database: exactly one. Its loss makes answers stale and never fails a recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.managed), has(self.external), has(self.cloudNativePG), has(self.none)].exists_one(x, x)").message("exactly one of managed, external, cloudNativePG, none must be set in postgres"))]
pub struct Postgres {
    /// One small pod with a volume, run by the operator. No backups are made of it: it can be rebuilt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedPostgres>,
    /// One that you run, by its connection URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalPostgres>,
    /// A cluster of the CloudNativePG operator in this namespace.
    #[serde(rename = "cloudNativePG", default, skip_serializing_if = "Option::is_none")]
    pub cloud_native_pg: Option<CloudNativePg>,
    /// None: ChatD knows nothing of keys beside what the vaults answer, and `/v1/account` always says `stale`.
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

/// The operator's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedPostgres {
    /// Its volume. Cannot change yet.
    #[serde(default)]
    pub storage: DatabaseStorage,
}

/// By a Secret.
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
    /// Key of the URL: `postgres://user:password@host/database?sslmode=verify-full&sslrootcert=/etc/bkv-postgres/ca.crt`.
    #[serde(default = "uri")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub uri_key: String,
}

fn uri() -> String {
    "uri".into()
}

/// By CloudNativePG: its Secret `<cluster>-app`, key `uri`, and its CA `<cluster>-ca`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudNativePg {
    /// Name of the Cluster, in the namespace of this resource.
    #[schemars(length(min = 1, max = 50), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub cluster: String,
}
