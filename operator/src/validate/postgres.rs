//! ChatD's database.

use super::references::{KeyOf, key, object};
use super::refusal::Refusals;
use super::resources::{Volume, volume};
use crate::conditions::Reason;
use crate::resource as spec;

/// ChatD's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Postgres {
    /// The operator runs it.
    Managed(Volume),
    /// A database of the user. The Secret has its URL.
    External(KeyOf),
    /// A Cluster of CloudNativePG.
    CloudNativePg {
        /// The Cluster's name.
        cluster: String,
    },
    /// None.
    None,
}

pub(super) fn postgres(given: &spec::Postgres, refusals: &mut Refusals) -> Option<Postgres> {
    match (&given.managed, &given.external, &given.cloud_native_pg, &given.none) {
        (Some(managed), None, None, None) => {
            let storage = &managed.storage;
            let class = storage.class_name.as_deref();
            let field = "spec.postgres.managed.storage";
            volume(&storage.size, class, "256Mi", field, refusals).map(Postgres::Managed)
        }
        (None, Some(external), None, None) => {
            let reference = &external.secret_ref;
            let field = "spec.postgres.external.secretRef";
            Some(Postgres::External(key(&reference.name, &reference.uri_key, field, refusals)))
        }
        (None, None, Some(cnpg), None) => {
            let field = "spec.postgres.cloudNativePG.cluster";
            object(&cnpg.cluster, field, refusals);
            refusals.range(field, cnpg.cluster.len(), (1, 50));
            Some(Postgres::CloudNativePg { cluster: cnpg.cluster.clone() })
        }
        (None, None, None, Some(_)) => Some(Postgres::None),
        _ => refusals.refuse(
            "spec.postgres",
            Reason::ExactlyOne,
            "exactly one of managed, external, cloudNativePG, none must be set",
        ),
    }
}
