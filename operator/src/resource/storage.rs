//! Volumes. There are two types, although both have the same fields: default and description of `size` differ and are part of the type's schema, and
//! `KubeSchema` can't derive generic types.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A vault's volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.className) == has(oldSelf.className)").message("storage.className is immutable").reason(Reason::FieldValueForbidden))]
pub struct Storage {
    /// Size of the volume, at least 1Gi. Plan 8 KiB for each account: a record takes about 4 KiB with everything around it, and needs as much again for growth. Cannot
    /// change yet.
    #[serde(default = "ten_gi")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+)(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"))]
    #[x_kube(
        validation = Rule::new("quantity(self).compareTo(quantity('1Gi')) >= 0").message("storage.size must be at least 1Gi"),
        validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) == 0").message("storage.size cannot change yet: growing volumes comes with a later release").reason(Reason::FieldValueForbidden)
    )]
    pub size: String,
    /// StorageClass. Default: the cluster's default class. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("storage.className is immutable").reason(Reason::FieldValueForbidden))]
    pub class_name: Option<String>,
}

fn ten_gi() -> String {
    "10Gi".into()
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: ten_gi(), class_name: None }
    }
}

/// The managed database's volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.className) == has(oldSelf.className)").message("storage.className is immutable").reason(Reason::FieldValueForbidden))]
pub struct DatabaseStorage {
    /// Size of the volume, at least 1Gi. A key takes about half a KiB. Cannot change yet.
    #[serde(default = "five_gi")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+)(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"))]
    #[x_kube(
        validation = Rule::new("quantity(self).compareTo(quantity('1Gi')) >= 0").message("storage.size must be at least 1Gi"),
        validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) == 0").message("storage.size cannot change yet: growing volumes comes with a later release").reason(Reason::FieldValueForbidden)
    )]
    pub size: String,
    /// StorageClass. Default: the cluster's default class. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("storage.className is immutable").reason(Reason::FieldValueForbidden))]
    pub class_name: Option<String>,
}

fn five_gi() -> String {
    "5Gi".into()
}

impl Default for DatabaseStorage {
    fn default() -> Self {
        Self { size: five_gi(), class_name: None }
    }
}
