//! The public root, which all vaults but the seed pin. Pods that mount it wait until it is known.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;

use super::{Input, Object};
use crate::kinds::Kind;
use crate::part::{Component, Part};
use crate::paths::ROOT_FILE;

/// The ConfigMap has no owner: a resource that is created again must find the root that its vaults pin.
pub(super) fn config_map(input: &Input<'_>) -> Option<Object> {
    let root = input.content.root.as_ref()?;
    let name = input.fleet.names().root();
    let fingerprint = bkv_wire::documents::fingerprint("root", root);
    let map = ConfigMap {
        metadata: Part::of(input.fleet, Component::Fleet).outliving(&name),
        binary_data: Some([(ROOT_FILE.to_owned(), ByteString(root.clone()))].into()),
        data: Some([("fingerprint".to_owned(), fingerprint)].into()),
        immutable: None,
    };
    Some(Object::of(Kind::ConfigMap, name, &map))
}
