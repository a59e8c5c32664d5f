//! ChatD's Deployment.

use bkv_config::chatd::FILE_NAME;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::vault::HEALTH;
use super::super::{Input, Object, hash, pod};
use super::{PUBLIC, database};
use crate::kinds::Kind;
use crate::part::{CONFIG_HASH, Part};
use crate::paths;
use crate::validate::Scaling;

pub(super) fn deployment(input: &Input<'_>, part: Part<'_>, config: &str) -> Object {
    let name = input.fleet.names().chatd();
    let deployment = Deployment {
        metadata: part.owned(&name),
        spec: Some(DeploymentSpec {
            // An autoscaler owns the number of replicas. If the operator set it too, the two would undo each other for ever.
            replicas: match input.fleet.chatd.scaling {
                Scaling::Replicas(replicas) => Some(replicas),
                Scaling::Automatic { .. } => None,
            },
            selector: part.label_selector(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(part.labels()),
                    // ChatD reads its configuration only at the start, so a change must restart it. It reads the issuer's keys again while it runs.
                    annotations: Some([(CONFIG_HASH.to_owned(), hash::of(&config))].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(spec(input, part, &name)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    Object::of(Kind::Deployment, name, &deployment)
}

fn spec(input: &Input<'_>, part: Part<'_>, name: &str) -> PodSpec {
    let (fleet, settings) = (input.fleet, input.settings);
    let (volumes, mounts) = volumes(input);
    let image = fleet.images.chatd.as_ref().map_or(settings.chatd_image.as_str(), |i| i.as_str());
    PodSpec {
        containers: vec![Container {
            name: "chatd".into(),
            image: Some(image.to_owned()),
            image_pull_policy: Some(fleet.images.pull_policy.unwrap_or(settings.pull_policy).as_str().into()),
            args: Some(vec!["--config".into(), paths::file(paths::CONFIG, FILE_NAME)]),
            env: Some(database::env(input)).filter(|e| !e.is_empty()),
            ports: Some(vec![pod::port("public", PUBLIC), pod::port("health", HEALTH)]),
            resources: Some(pod::requirements(&fleet.chatd.resources)),
            startup_probe: Some(pod::health("/livez", 1, 60, 2)),
            readiness_probe: Some(pod::health("/readyz", 2, 3, 2)),
            liveness_probe: Some(pod::health("/livez", 10, 6, 5)),
            security_context: Some(pod::restricted()),
            termination_message_policy: Some(pod::LAST_WORDS.into()),
            volume_mounts: Some(mounts),
            ..Container::default()
        }],
        volumes: Some(volumes),
        topology_spread_constraints: Some(pod::spread(part)),
        ..pod::spec(part, name.to_owned(), 30)
    }
}

fn volumes(input: &Input<'_>) -> (Vec<Volume>, Vec<VolumeMount>) {
    let names = input.fleet.names();
    let mut volumes = vec![
        pod::config("config", &names.chatd(), None),
        pod::secret("tls", &names.chatd_tls(), None),
        pod::secret("web", &names.chatd_web(), None),
        pod::empty("tmp", "64Mi"),
    ];
    let mut mounts = vec![
        pod::read_only("config", paths::CONFIG),
        pod::read_only("tls", paths::TLS),
        pod::read_only("web", paths::WEB),
        pod::mount("tmp", paths::TEMPORARY),
    ];
    if let Some(volume) = database::volume(input) {
        volumes.push(volume);
        mounts.push(pod::read_only("postgres", paths::POSTGRES));
    }
    (volumes, mounts)
}
