//! A fleet as the spec asks for it. Later stages see only these checked values.

use super::attempts::{self, Attempts};
use super::chatd::{self, Chatd};
use super::client_auth::{self, ClientAuth};
use super::hsm::{self, Hsm};
use super::images::{self, Images};
use super::monitoring::{self, Monitoring};
use super::names::FleetName;
use super::network;
use super::note::Note;
use super::object_names::ObjectNames;
use super::postgres::{self, Postgres};
use super::refusal::Refusals;
use super::regions::{self, Region};
use super::root::{self, RootCustody};
use super::tls::{self, Tls};
use crate::conditions::Reason;
use crate::resource::{BackupKeyVault, DeletionPolicy, NetworkPolicyMode};

/// A fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// The resource's name.
    pub name: FleetName,
    /// Its namespace.
    pub namespace: String,
    /// Its UID, for owner references.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Who keeps the root key.
    pub root: RootCustody,
    /// In the order of the spec; the first is in slot 1.
    pub regions: Vec<Region>,
    /// The attempt policy.
    pub attempts: Attempts,
    /// The issuer of the clients' access tokens.
    pub client_auth: ClientAuth,
    /// Raft groups.
    pub shards: u16,
    /// The front end.
    pub chatd: Chatd,
    /// Its database.
    pub postgres: Postgres,
    /// Who issues certificates.
    pub tls: Tls,
    /// Images that were asked for.
    pub images: Images,
    /// The longest round trip between two regions, milliseconds.
    pub max_round_trip_ms: u64,
    /// Make NetworkPolicies.
    pub network_policy: bool,
    /// Objects for Prometheus and Grafana.
    pub monitoring: Monitoring,
    /// Observe only.
    pub paused: bool,
    /// Why it is not for production.
    pub notes: Vec<Note>,
}

impl Fleet {
    /// The names of its objects.
    pub const fn names(&self) -> ObjectNames<'_> {
        ObjectNames::new(&self.name)
    }
}

/// Reads every field of a resource.
pub(super) fn fleet(resource: &BackupKeyVault, refusals: &mut Refusals) -> Option<Fleet> {
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
    let max_round_trip_ms = network::max_round_trip_ms(&spec.network, refusals);
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
        max_round_trip_ms: max_round_trip_ms?,
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
