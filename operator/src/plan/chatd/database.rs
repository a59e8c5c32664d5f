//! ChatD's access to its database: a file with the URL, and a CA beside it if there is one.

use k8s_openapi::api::core::v1::{
    EnvVar, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeProjection,
};

use super::super::{Input, pod};
use crate::paths::{self, AUTHORITY_FILE};
use crate::validate::{KeyOf, Postgres};

/// The volume, if there is a database. A foreign Secret is mounted and never copied, so that a rotation reaches the pod.
pub(super) fn volume(input: &Input<'_>) -> Option<Volume> {
    let key = |key: &str, file: &str| pod::item(&KeyOf { name: String::new(), key: key.to_owned() }, file);
    Some(match &input.fleet.postgres {
        Postgres::Managed(_) => pod::secret("postgres", &input.fleet.names().postgres_url(), None),
        Postgres::External(secret) => {
            let ca = input.content.external_uri_ca.then(|| key(AUTHORITY_FILE, AUTHORITY_FILE));
            let items = std::iter::once(pod::item(secret, paths::URL_FILE)).chain(ca).collect();
            pod::secret("postgres", &secret.name, Some(items))
        }
        Postgres::CloudNativePg { cluster } => projected(vec![
            (format!("{cluster}-app"), key("uri", paths::URL_FILE)),
            (format!("{cluster}-ca"), key(AUTHORITY_FILE, AUTHORITY_FILE)),
        ]),
        Postgres::None => return None,
    })
}

/// CloudNativePG's URL has no TLS options. Without these variables ChatD would connect with the default mode, whatever certificate it gets.
pub(super) fn env(input: &Input<'_>) -> Vec<EnvVar> {
    match &input.fleet.postgres {
        Postgres::CloudNativePg { .. } => {
            let authority = paths::file(paths::POSTGRES, AUTHORITY_FILE);
            vec![pod::env("PGSSLMODE", "verify-full"), pod::env("PGSSLROOTCERT", &authority)]
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
