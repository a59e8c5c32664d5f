//! The database's StatefulSet.

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Container, ExecAction, Lifecycle, LifecycleHandler, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::{Input, Object, pod};
use super::PORT;
use crate::kinds::Kind;
use crate::part::Part;
use crate::paths::{self, file};
use crate::validate::Volume;

pub(super) fn stateful_set(input: &Input<'_>, part: Part<'_>, storage: &Volume) -> Object {
    let name = input.fleet.names().postgres();
    let set = StatefulSet {
        metadata: part.owned(&name),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(name.clone()),
            selector: part.label_selector(),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(part.labels()), ..ObjectMeta::default() }),
                spec: Some(spec(input, part, &name)),
            },
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".into()),
                when_scaled: Some("Retain".into()),
            }),
            volume_claim_templates: Some(vec![pod::claim(
                part,
                "data",
                storage.size.as_str(),
                storage.class_name.as_ref(),
            )]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    };
    Object::of(Kind::StatefulSet, name, &set)
}

fn spec(input: &Input<'_>, part: Part<'_>, name: &str) -> PodSpec {
    let (fleet, settings) = (input.fleet, input.settings);
    // A folder below the volume: Postgres refuses a folder that holds something else, and a volume may hold `lost+found`.
    let data = file(paths::POSTGRES_DATA, "pgdata");
    let image = fleet.images.postgres.as_ref().map_or(settings.postgres_image.as_str(), |i| i.as_str());
    // The image's own probe. It also makes the server load a renewed certificate.
    let ready = |period, failures| Probe {
        exec: Some(run(&["/usr/bin/bkv-postgres", "ready"])),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    };
    // On the pod's SIGTERM, Postgres would wait until its clients disconnect, and they would not.
    let stop = ["/usr/lib/postgresql/15/bin/pg_ctl", "stop", "--pgdata", &data, "--mode", "fast", "--wait"];
    PodSpec {
        containers: vec![Container {
            name: "postgres".into(),
            image: Some(image.to_owned()),
            image_pull_policy: Some(fleet.images.pull_policy.unwrap_or(settings.pull_policy).as_str().into()),
            env: Some(vec![
                pod::env("PGDATA", &data),
                pod::env("BKV_POSTGRES_PASSWORD_FILE", &file(paths::POSTGRES, paths::PASSWORD_FILE)),
                pod::env("BKV_POSTGRES_TLS_DIR", paths::POSTGRES_TLS),
            ]),
            ports: Some(vec![pod::port("postgres", PORT)]),
            resources: Some(resources()),
            startup_probe: Some(ready(2, 150)),
            readiness_probe: Some(ready(5, 3)),
            lifecycle: Some(Lifecycle {
                pre_stop: Some(LifecycleHandler { exec: Some(run(&stop)), ..LifecycleHandler::default() }),
                ..Lifecycle::default()
            }),
            security_context: Some(pod::restricted()),
            termination_message_policy: Some(pod::LAST_WORDS.into()),
            volume_mounts: Some(vec![
                pod::mount("data", paths::POSTGRES_DATA),
                pod::mount("run", paths::POSTGRES_RUN),
                pod::mount("tmp", paths::TEMPORARY),
                pod::read_only("password", paths::POSTGRES),
                pod::read_only("tls", paths::POSTGRES_TLS),
            ]),
            ..Container::default()
        }],
        volumes: Some(vec![
            pod::empty("run", "16Mi"),
            pod::empty("tmp", "256Mi"),
            pod::secret("password", name, None),
            pod::secret("tls", &fleet.names().postgres_tls(), None),
        ]),
        ..pod::spec(part, name.to_owned(), 60)
    }
}

fn run(command: &[&str]) -> ExecAction {
    ExecAction { command: Some(command.iter().map(|c| (*c).to_owned()).collect()) }
}

fn resources() -> ResourceRequirements {
    let amounts = |list: &[(&str, &str)]| {
        Some(list.iter().map(|(what, amount)| ((*what).to_owned(), Quantity((*amount).to_owned()))).collect())
    };
    ResourceRequirements {
        requests: amounts(&[("cpu", "100m"), ("memory", "256Mi")]),
        limits: amounts(&[("memory", "512Mi")]),
        claims: None,
    }
}
