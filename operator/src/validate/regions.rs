//! Regions and their names.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;

use super::hsm::Hsm;
use super::names::{self, RegionName};
use super::object_names;
use super::refusal::Refusals;
use super::resources::{self, Resources, Volume};
use super::{hsm, metadata};
use crate::conditions::Reason;
use crate::resource as spec;

/// A region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// 1 and up.
    pub slot: u8,
    /// Its name.
    pub name: RegionName,
    /// Its nodes.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that its vault tolerates.
    pub tolerations: Vec<Toleration>,
    /// Its vault's volume.
    pub storage: Volume,
    /// CPU and memory.
    pub resources: Resources,
    /// Its token.
    pub hsm: Hsm,
    /// Annotations of its ServiceAccount.
    pub service_account_annotations: BTreeMap<String, String>,
}

pub(super) fn regions(given: &[spec::Region], shared: Option<&Hsm>, refusals: &mut Refusals) -> Vec<Region> {
    refusals.want(
        matches!(given.len(), 1 | 3 | 5 | 7),
        "spec.regions",
        Reason::OutOfRange,
        "the number of regions must be odd (1, 3, 5 or 7): an even number tolerates no more losses and ties more often",
    );
    let mut earlier: Vec<RegionName> = Vec::new();
    let mut read = Vec::new();
    for (i, region) in given.iter().enumerate() {
        let field = format!("spec.regions[{i}]");
        let name = name(&region.name, &earlier, &format!("{field}.name"), refusals);
        earlier.extend(name.clone());
        read.extend(one(region, name, i, shared, &field, refusals));
    }
    read
}

fn name(text: &str, earlier: &[RegionName], field: &str, refusals: &mut Refusals) -> Option<RegionName> {
    let Some(name) = RegionName::new(text) else {
        let message = format!(
            "{text:?} is not a region's name: use 1 to 16 of a-z, 0-9 and '-', beginning with a letter, not ending in '-'"
        );
        return refusals.refuse(field, Reason::InvalidName, message);
    };
    if object_names::is_part(&name) {
        let message = format!(
            "{name} is the name of another part of the fleet: choose the name of a place, as eu-west"
        );
        return refusals.refuse(field, Reason::NameCollision, message);
    }
    if let Some(other) = object_names::collides(&name, earlier) {
        let message = if *other == name {
            format!("{name} appears twice: give each region its own name")
        } else {
            format!("choose another name: objects of {name} and of {other} would have one name")
        };
        return refusals.refuse(field, Reason::NameCollision, message);
    }
    Some(name)
}

fn one(
    given: &spec::Region,
    name: Option<RegionName>,
    index: usize,
    shared: Option<&Hsm>,
    field: &str,
    refusals: &mut Refusals,
) -> Option<Region> {
    let storage = &given.storage;
    let storage = resources::volume(
        &storage.size,
        storage.class_name.as_deref(),
        "1Gi",
        &format!("{field}.storage"),
        refusals,
    );
    let default = resources::resources_of(250, 256, 1024);
    let resources =
        resources::resources(given.resources.as_ref(), default, &format!("{field}.resources"), refusals);
    let own = given.hsm.as_ref().map(|own| hsm::hsm(own, &format!("{field}.hsm"), refusals));
    let annotations = given.service_account_annotations.as_ref();
    let annotations =
        metadata::annotations(annotations, &format!("{field}.serviceAccountAnnotations"), refusals);
    let node_selector =
        metadata::labels(given.node_selector.as_ref(), &format!("{field}.nodeSelector"), refusals);
    for (i, toleration) in given.tolerations.iter().enumerate() {
        tolerates(toleration, &format!("{field}.tolerations[{i}]"), refusals);
    }
    Some(Region {
        slot: u8::try_from(index + 1).ok()?,
        name: name?,
        node_selector,
        tolerations: given.tolerations.clone(),
        storage: storage?,
        resources,
        hsm: own.unwrap_or_else(|| shared.cloned())?,
        service_account_annotations: annotations,
    })
}

/// Checks a toleration here: otherwise the API server would refuse the StatefulSet, an object that the user did not write.
fn tolerates(given: &Toleration, field: &str, refusals: &mut Refusals) {
    let operator = given.operator.as_deref().unwrap_or("Equal");
    let has_key = given.key.as_deref().is_some_and(|k| !k.is_empty());
    let has_value = given.value.as_deref().is_some_and(|v| !v.is_empty());
    refusals.want(
        matches!(operator, "Equal" | "Exists"),
        &format!("{field}.operator"),
        Reason::InvalidValue,
        "must be Equal or Exists",
    );
    refusals.want(
        has_key || operator == "Exists",
        &format!("{field}.key"),
        Reason::Conflict,
        "without a key the operator must be Exists",
    );
    refusals.want(
        !(has_value && operator == "Exists"),
        &format!("{field}.value"),
        Reason::Conflict,
        "needs operator Equal",
    );
    refusals.want(
        given.key.as_deref().is_none_or(|k| k.is_empty() || names::qualified(k))
            && given.value.as_deref().is_none_or(names::label_value),
        field,
        Reason::InvalidName,
        "key and value must be valid for a label",
    );
    let effect = given.effect.as_deref().unwrap_or_default();
    refusals.want(
        matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute"),
        &format!("{field}.effect"),
        Reason::InvalidValue,
        "must be NoSchedule, PreferNoSchedule or NoExecute",
    );
    refusals.want(
        given.toleration_seconds.is_none() || effect == "NoExecute",
        &format!("{field}.tolerationSeconds"),
        Reason::Conflict,
        "needs effect NoExecute",
    );
}
