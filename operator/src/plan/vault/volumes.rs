//! A vault's volumes and where they are mounted.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeMount,
    VolumeProjection,
};

use super::super::{Input, pod};
use super::token::{Source, Token};
use super::{config, given_pin, library};
use crate::paths;
use crate::validate::Region;

/// Volumes of the pod, its claims not among them.
pub(super) fn volumes(input: &Input<'_>, region: &Region, token: &Token<'_>) -> Vec<Volume> {
    let names = input.fleet.names();
    let pin = match given_pin(&region.hsm) {
        Some(key) => pod::secret("pin", &key.name, Some(vec![pod::item(key, paths::PIN_FILE)])),
        None => pod::secret("pin", &names.pin(&region.name), None),
    };
    let mut all = vec![
        pod::config(
            "config",
            &names.vault(&region.name),
            Some(named(config::files(input, region).into_keys())),
        ),
        pod::secret("tls", &names.vault_tls(&region.name), None),
        pin,
        pod::empty("tmp", "64Mi"),
    ];
    if !config::is_seed(input, region) {
        all.push(pod::config("root", &names.root(), Some(named([paths::ROOT_FILE.to_owned()]))));
    }
    if let Some(library) = &token.library {
        all.extend(library::volumes(input, library));
    }
    for (i, sources) in token.folders.values().enumerate() {
        all.push(folder(&format!("module-config-{i}"), sources, &names.vault(&region.name)));
    }
    all
}

/// Mounts of the vault's own container.
pub(super) fn mounts(input: &Input<'_>, region: &Region, token: &Token<'_>) -> Vec<VolumeMount> {
    let mut all = vec![
        pod::mount("data", paths::DATA),
        pod::read_only("config", paths::CONFIG),
        pod::read_only("tls", paths::TLS),
        pod::read_only("pin", paths::PIN),
        pod::mount("tmp", paths::TEMPORARY),
    ];
    if !config::is_seed(input, region) {
        all.push(pod::read_only("root", paths::ROOT));
    }
    if token.storage.is_some() {
        all.push(pod::mount("token", paths::TOKEN));
    }
    if token.library.is_some() {
        all.push(pod::read_only(library::MODULE, paths::LIBRARY));
    }
    for (i, place) in token.folders.keys().enumerate() {
        all.push(pod::read_only(&format!("module-config-{i}"), place));
    }
    all
}

/// Mounts only the named keys. Without this list an attacker could add a key to the ConfigMap and so a file to the pod.
fn named(keys: impl IntoIterator<Item = String>) -> Vec<KeyToPath> {
    keys.into_iter().map(|key| KeyToPath { path: key.clone(), key, mode: None }).collect()
}

/// A folder with files from several sources. An empty name is the vault's own ConfigMap.
fn folder(name: &str, sources: &[Source], own: &str) -> Volume {
    let projections = sources.iter().map(|source| {
        let items = Some(vec![pod::item(&source.from, &source.file)]);
        let from = if source.from.name.is_empty() { own } else { &source.from.name }.to_owned();
        if source.secret {
            let secret = SecretProjection { name: from, items, optional: None };
            VolumeProjection { secret: Some(secret), ..VolumeProjection::default() }
        } else {
            let map = ConfigMapProjection { name: from, items, optional: None };
            VolumeProjection { config_map: Some(map), ..VolumeProjection::default() }
        }
    });
    // Readable by its owner, and by our group through fsGroup.
    let mode = if sources.iter().any(|s| s.secret) { 0o400 } else { 0o444 };
    let source = ProjectedVolumeSource { default_mode: Some(mode), sources: Some(projections.collect()) };
    Volume { name: name.into(), projected: Some(source), ..Volume::default() }
}
