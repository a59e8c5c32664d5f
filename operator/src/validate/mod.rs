//! Turns a resource into a [`Fleet`], or into the list of everything that is wrong with it. Repeats the checks of CEL: a resource that an older CRD let through
//! must neither crash nor mislead later stages. Pure: no I/O, no clock.

mod attempts;
mod chatd;
mod client_auth;
mod fleet;
mod hsm;
mod images;
mod metadata;
mod monitoring;
mod names;
mod note;
mod object_names;
mod period;
mod pkcs11;
mod postgres;
mod quantity;
mod references;
mod refusal;
mod regions;
mod resources;
mod root;
mod tls;
mod url;

#[cfg(test)]
mod parser_test;
#[cfg(test)]
mod validate_test;

pub use attempts::Attempts;
pub use chatd::{Chatd, Expose, Parent, Scaling};
pub use client_auth::{ClientAuth, JwksSource};
pub use fleet::{Fleet, Region};
pub use hsm::{Hsm, Pin};
pub use images::Images;
pub use monitoring::Monitoring;
pub use names::{FleetName, HostName, Image, RegionName};
pub use note::Note;
pub use object_names::ObjectNames;
pub use pkcs11::{ModuleFile, Pkcs11};
pub use postgres::Postgres;
pub use quantity::Quantity;
pub use references::KeyOf;
pub use refusal::Refusal;
pub use resources::{Resources, Volume};
pub use root::RootCustody;
pub use tls::Tls;

use crate::conditions::Reason;
use crate::resource::{BackupKeyVault, DeletionPolicy, NetworkPolicyMode};
pub use crate::resource::{LibraryDelivery, PullPolicy, ServiceType};
use refusal::Refusals;

/// Checks every field, and returns all refusals at once.
pub fn validate(resource: &BackupKeyVault) -> Result<Fleet, Vec<Refusal>> {
    let mut refusals = Refusals::default();
    match read(resource, &mut refusals) {
        Some(fleet) if refusals.is_empty() => Ok(fleet),
        _ => Err(refusals.into_list()),
    }
}

fn read(resource: &BackupKeyVault, refusals: &mut Refusals) -> Option<Fleet> {
    let (meta, spec) = (&resource.metadata, &resource.spec);
    let name = meta.name.as_deref().unwrap_or_default();
    let name = FleetName::new(name).or_else(|| {
        let message = format!(
            "{name:?} must be a DNS label of at most 20 characters that starts with a letter: it is part of Service and StatefulSet names"
        );
        refusals.refuse("metadata.name", Reason::InvalidName, message)
    });
    let mut given = |value: Option<&String>, field: &str| {
        value.filter(|v| !v.is_empty()).cloned().or_else(|| {
            refusals.refuse(
                field,
                Reason::InvalidValue,
                "is missing: this object does not come from the API server",
            )
        })
    };
    let namespace = given(meta.namespace.as_ref(), "metadata.namespace");
    let uid = given(meta.uid.as_ref(), "metadata.uid");
    let root = root::root(&spec.fleet.root, refusals);
    let shared = hsm::hsm(&spec.hsm, "spec.hsm", refusals);
    let regions = regions::regions(&spec.regions, shared.as_ref(), refusals);
    refusals.range("spec.shards", spec.shards, (1, 256));
    refusals.want(
        spec.deletion_policy == DeletionPolicy::Retain,
        "spec.deletionPolicy",
        Reason::NotSupported,
        "Destroy is not supported yet: delete the volumes yourself once nobody needs a key in them",
    );
    let attempts = attempts::attempts(&spec.attempts, refusals);
    let client_auth = client_auth::client_auth(&spec.client_auth, refusals);
    let chatd = chatd::chatd(&spec.chatd, refusals);
    let postgres = postgres::postgres(&spec.postgres, refusals);
    let tls = tls::tls(&spec.tls, refusals);
    let images = images::images(&spec.images, refusals);
    let monitoring = monitoring::monitoring(&spec.monitoring, refusals);
    let root = root?;
    let notes = notes(&root, &regions);
    Some(Fleet {
        name: name?,
        namespace: namespace?,
        uid: uid?,
        generation: meta.generation.unwrap_or_default(),
        root,
        regions,
        attempts,
        client_auth: client_auth?,
        shards: spec.shards,
        chatd: chatd?,
        postgres: postgres?,
        tls: tls?,
        images,
        network_policy: spec.network_policy == NetworkPolicyMode::Managed,
        monitoring,
        paused: spec.paused,
        notes,
    })
}

fn notes(root: &RootCustody, regions: &[Region]) -> Vec<Note> {
    let soft = regions.iter().any(|r| matches!(r.hsm, Hsm::SoftHsm { .. }));
    let single = regions.len() == 1;
    let together = !single && regions.iter().all(|r| r.node_selector.is_empty());
    [
        (Note::SoftwareToken, soft),
        (Note::RootKeyInFleet, *root == RootCustody::InFleet),
        (Note::SingleRegion, single),
        (Note::RegionsShareNodes, together),
    ]
    .into_iter()
    .filter_map(|(note, holds)| holds.then_some(note))
    .collect()
}
