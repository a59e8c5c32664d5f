//! The metadata of every object.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use crate::labels::{COMPONENT, MANAGED_BY, MANAGER, REGION, VAULT};
use crate::validate::{Fleet, RegionName};

/// Annotation of pods: the hash of the configuration that is read at the start only.
pub(crate) const CONFIG_HASH: &str = "bkv.dev/config-hash";

/// `app.kubernetes.io/component`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    Vault,
    Chatd,
    Postgres,
    Fleet,
    Pki,
}

impl Component {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Chatd => "chatd",
            Self::Postgres => "postgres",
            Self::Fleet => "fleet",
            Self::Pki => "pki",
        }
    }
}

/// An object's part in the fleet: its labels follow from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) component: Component,
    pub(crate) region: Option<&'a RegionName>,
}

impl<'a> Part<'a> {
    pub(crate) const fn of(fleet: &'a Fleet, component: Component) -> Self {
        Self { fleet, component, region: None }
    }

    pub(crate) const fn vault(fleet: &'a Fleet, region: &'a RegionName) -> Self {
        Self { fleet, component: Component::Vault, region: Some(region) }
    }

    /// What selects its pods. Immutable in StatefulSets and Deployments: never add to it.
    pub(crate) fn selector(self) -> BTreeMap<String, String> {
        let region = self.region.map(|r| (REGION, r.as_str()));
        [
            ("app.kubernetes.io/name", "bkv"),
            (COMPONENT, self.component.name()),
            (VAULT, self.fleet.name.as_str()),
        ]
        .into_iter()
        .chain(region)
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
    }

    pub(crate) fn label_selector(self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector()), match_expressions: None }
    }

    pub(crate) fn labels(self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/instance".into(), self.fleet.name.to_string());
        labels.insert(MANAGED_BY.into(), MANAGER.into());
        labels
    }

    /// Metadata of an object that is deleted with the resource.
    pub(crate) fn owned(self, name: &str) -> ObjectMeta {
        ObjectMeta { owner_references: Some(vec![owner(self.fleet)]), ..self.outliving(name) }
    }

    /// Metadata without an owner: the object outlives the resource.
    pub(crate) fn outliving(self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.fleet.namespace.clone()),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        }
    }

    /// [`Part::owned`] for kinds that Kubernetes' own types lack.
    pub(crate) fn owned_json(self, name: &str, more: &BTreeMap<String, String>) -> Value {
        let mut labels = self.labels();
        labels.extend(more.clone());
        json!({
            "name": name,
            "namespace": self.fleet.namespace,
            "labels": labels,
            "ownerReferences": [owner(self.fleet)],
        })
    }
}

fn owner(fleet: &Fleet) -> OwnerReference {
    OwnerReference {
        api_version: "bkv.dev/v1alpha1".into(),
        kind: "BackupKeyVault".into(),
        name: fleet.name.to_string(),
        uid: fleet.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
