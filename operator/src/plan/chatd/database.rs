//! How ChatD gets at its database: a file with the URL, maybe a CA beside it, at `/etc/bkv-postgres`.

use k8s_openapi::api::core::v1::{
    EnvVar, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeProjection,
};

use super::super::{Input, pod};
use crate::validate::{KeyOf, Postgres};

/// The volume, if there is a database. A Secret of somebody else's is mounted and never copied: its rotation reaches the pod by itself.
pub(super) fn volume(input: &Input<'_>) -> Option<Volume> {
    let key = |key: &str, file: &str| pod::item(&KeyOf { name: String::new(), key: key.to_owned() }, file);
    Some(match &input.fleet.postgres {
        Postgres::Managed(_) => pod::secret("postgres", &input.fleet.names().postgres_url(), None),
        Postgres::External(secret) => {
            let ca = input.content.external_uri_ca.then(|| key("ca.crt", "ca.crt"));
            let items = std::iter::once(pod::item(secret, "url")).chain(ca).collect();
            pod::secret("postgres", &secret.name, Some(items))
        }
        Postgres::CloudNativePg { cluster } => projected(vec![
            (format!("{cluster}-app"), key("uri", "url")),
            (format!("{cluster}-ca"), key("ca.crt", "ca.crt")),
        ]),
        Postgres::None => return None,
    })
}

/// CloudNativePG's URL says nothing of TLS: without these it would be taken as it comes.
pub(super) fn env(input: &Input<'_>) -> Vec<EnvVar> {
    match &input.fleet.postgres {
        Postgres::CloudNativePg { .. } => {
            vec![pod::env("PGSSLMODE", "verify-full"), pod::env("PGSSLROOTCERT", "/etc/bkv-postgres/ca.crt")]
        }
        _ => Vec::new(),
    }
}

fn projected(files: Vec<(String, KeyToPath)>) -> Volume {
    let sources = files.into_iter().map(|(name, item)| VolumeProjection {
        secret: Some(SecretProjection { name, items: Some(vec![item]), optional: None }),
        ..VolumeProjection::default()
    });
    Volume {
        name: "postgres".into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o400),
            sources: Some(sources.collect()),
        }),
        ..Volume::default()
    }
}
