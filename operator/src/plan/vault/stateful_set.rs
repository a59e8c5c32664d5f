//! The StatefulSet of one vault. Its pod template depends only on the spec and the journal.

use std::collections::BTreeMap;

use bkv_config::vault::FILE_NAME;
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::{Input, Object, hash, pod};
use super::token::Token;
use super::{ADMIN, HEALTH, PEER, RELAY, library, module, volumes};
use crate::kinds::Kind;
use crate::labels::TEMPLATE_HASH;
use crate::part::{CONFIG_HASH, Component, Part};
use crate::paths;
use crate::validate::Region;

pub(super) fn stateful_set(input: &Input<'_>, region: &Region, config: &BTreeMap<String, String>) -> Object {
    let part = Part::vault(input.fleet, &region.name);
    let name = input.fleet.names().vault(&region.name);
    let token = module::token(region);
    let template = template(input, region, &token, config);
    let hash = template.metadata.as_ref().and_then(|m| m.annotations.as_ref()?.get(TEMPLATE_HASH).cloned());
    let mut metadata = part.owned(&name);
    metadata.annotations = hash.map(|hash| [(TEMPLATE_HASH.to_owned(), hash)].into());
    let data = &region.storage;
    let mut claims = vec![pod::claim(part, "data", data.size.as_str(), data.class_name.as_ref())];
    if let Some(size) = token.storage {
        claims.push(pod::claim(part, "token", size.as_str(), data.class_name.as_ref()));
    }
    let set = StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(name.clone()),
            selector: part.label_selector(),
            template,
            pod_management_policy: Some("Parallel".into()),
            // A new template waits until its pod is evicted. Evictions respect the disruption budget, but the controller's own updates do not.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            // The volumes hold users' keys, so they stay when this object is deleted or scaled.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".into()),
                when_scaled: Some("Retain".into()),
            }),
            volume_claim_templates: Some(claims),
            ..StatefulSetSpec::default()
        }),
        status: None,
    };
    Object::of(Kind::StatefulSet, name, &set)
}

fn template(
    input: &Input<'_>,
    region: &Region,
    token: &Token<'_>,
    config: &BTreeMap<String, String>,
) -> PodTemplateSpec {
    let part = Part::vault(input.fleet, &region.name);
    let account = input.fleet.names().vault(&region.name);
    let selector = &region.node_selector;
    let spec = PodSpec {
        init_containers: Some(init_containers(input, region, token)).filter(|c| !c.is_empty()),
        containers: vec![Container {
            resources: Some(pod::requirements(&region.resources)),
            ports: Some(
                [("peer", PEER), ("relay", RELAY), ("admin", ADMIN), ("health", HEALTH)]
                    .map(|(name, number)| pod::port(name, number))
                    .into(),
            ),
            // A vault may start slowly because of a large store or a token in the cloud.
            startup_probe: Some(pod::health("/livez", 2, 300, 5)),
            readiness_probe: Some(pod::health("/readyz", 2, 3, 2)),
            // Many failures are allowed: a restart of a slow vault would put more load on the others.
            liveness_probe: Some(pod::health("/livez", 10, 6, 5)),
            ..vault(input, region, token, "vault", &["--config", &paths::file(paths::CONFIG, FILE_NAME)])
        }],
        volumes: Some(volumes::volumes(input, region, token)),
        node_selector: (!selector.is_empty()).then(|| selector.clone()),
        tolerations: (!region.tolerations.is_empty()).then(|| region.tolerations.clone()),
        topology_spread_constraints: Some(pod::spread(Part::of(input.fleet, Component::Vault))),
        ..pod::spec(part, account, 30)
    };
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(part.labels()),
            annotations: Some([(CONFIG_HASH.to_owned(), hash::of(config))].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    let hash = hash::of(&template);
    if let Some(annotations) = template.metadata.as_mut().and_then(|m| m.annotations.as_mut()) {
        annotations.insert(TEMPLATE_HASH.into(), hash);
    }
    template
}

fn init_containers(input: &Input<'_>, region: &Region, token: &Token<'_>) -> Vec<Container> {
    let mut all = token.library.as_ref().map(|l| library::init_containers(input, l)).unwrap_or_default();
    if token.storage.is_some() {
        let config = paths::file(paths::CONFIG, FILE_NAME);
        let make = ["init-token", "--config", &config];
        let vault = vault(input, region, token, "token", &make);
        // Only the mounts that making a token needs: neither the vault's data nor its certificate.
        let needs = |m: &VolumeMount| matches!(m.name.as_str(), "config" | "pin" | "tmp" | "token");
        let mounts = vault.volume_mounts.map(|all| all.into_iter().filter(needs).collect());
        all.push(Container { resources: Some(pod::small()), volume_mounts: mounts, ..vault });
    }
    all
}

/// The vault's program, with all its mounts.
fn vault(input: &Input<'_>, region: &Region, token: &Token<'_>, name: &str, args: &[&str]) -> Container {
    let image =
        input.fleet.images.vault.as_ref().map_or(input.journal.pinned.vault_image.as_str(), |i| i.as_str());
    let args = args.iter().copied().chain(["--termination-log", paths::TERMINATION_LOG]);
    Container {
        name: name.into(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(library::pull_policy(input).as_str().into()),
        args: Some(args.map(str::to_owned).collect()),
        env: Some(token.env.iter().map(|(k, v)| pod::env(k, v)).collect::<Vec<_>>())
            .filter(|e| !e.is_empty()),
        volume_mounts: Some(volumes::mounts(input, region, token)),
        security_context: Some(pod::restricted()),
        // A module logs the PIN if a variable or its configuration file turns its debug output on. So no part of the log may reach the status.
        termination_message_policy: Some("File".into()),
        ..Container::default()
    }
}
