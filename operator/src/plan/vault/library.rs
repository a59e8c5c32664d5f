//! Delivers a PKCS#11 module from its image to the vault.

use k8s_openapi::api::core::v1::{Container, ImageVolumeSource, Volume};

use super::super::{Input, pod};
use super::token::Library;
use crate::paths::{self, LIBRARY};
use crate::validate::{LibraryDelivery, PullPolicy};

/// Volume with the module.
pub(super) const MODULE: &str = "module";
const COPIER: &str = "copier";

/// When a vault's images are pulled. From the journal, because the operator's own setting may change.
pub(super) fn pull_policy(input: &Input<'_>) -> PullPolicy {
    input.fleet.images.pull_policy.unwrap_or(input.journal.pinned.pull_policy)
}

pub(super) fn volumes(input: &Input<'_>, library: &Library<'_>) -> Vec<Volume> {
    match library.delivery {
        LibraryDelivery::Copy => vec![pod::empty(COPIER, "16Mi"), pod::empty(MODULE, "1Gi")],
        LibraryDelivery::ImageVolume => vec![Volume {
            name: MODULE.into(),
            image: Some(ImageVolumeSource {
                reference: Some(library.image.to_owned()),
                pull_policy: Some(pull_policy(input).as_str().into()),
            }),
            ..Volume::default()
        }],
    }
}

/// The first container copies our static program into an empty folder. The second runs it in the library's image, which may have no shell.
pub(super) fn init_containers(input: &Input<'_>, library: &Library<'_>) -> Vec<Container> {
    if library.delivery == LibraryDelivery::ImageVolume {
        return Vec::new();
    }
    let container = |name: &str, image: &str| Container {
        name: name.into(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(pull_policy(input).as_str().into()),
        resources: Some(pod::small()),
        security_context: Some(pod::restricted()),
        termination_message_policy: Some(pod::LAST_WORDS.into()),
        ..Container::default()
    };
    let copy = ["copy", "--to", LIBRARY].into_iter().chain(library.copied.iter().map(String::as_str));
    vec![
        Container {
            args: Some(vec!["install".into(), paths::COPIER.into()]),
            volume_mounts: Some(vec![pod::mount(COPIER, paths::COPIER)]),
            ..container("copier", &input.journal.pinned.copier_image)
        },
        Container {
            command: Some(vec![paths::file(paths::COPIER, "copier")]),
            args: Some(copy.map(str::to_owned).collect()),
            volume_mounts: Some(vec![pod::read_only(COPIER, paths::COPIER), pod::mount(MODULE, LIBRARY)]),
            ..container("library", library.image)
        },
    ]
}
