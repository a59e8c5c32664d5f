//! The fleet's own ConfigMaps: journal, documents, ceremony request. They outlive the resource. The operator never overwrites a ConfigMap of another
//! owner.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use super::error::ObjectError;
use super::ownership::Ownership;
use crate::journal::Journal;
use crate::labels::MANAGER;
use crate::part::{Component, Part};
use crate::validate::Fleet;

/// Reads and writes a fleet's ConfigMaps.
pub(crate) struct ConfigMapStore<'a> {
    api: Api<ConfigMap>,
    fleet: &'a Fleet,
}

impl<'a> ConfigMapStore<'a> {
    pub(crate) fn of(client: &Client, fleet: &'a Fleet) -> Self {
        Self { api: Api::namespaced(client.clone(), &fleet.namespace), fleet }
    }

    /// One by name, whoever made it.
    pub(crate) async fn any(&self, name: &str) -> Result<Option<ConfigMap>, ObjectError> {
        self.api.get_opt(name).await.map_err(|e| ObjectError::of("ConfigMap", name, e))
    }

    /// One of ours. A foreign ConfigMap of that name is an error.
    pub(crate) async fn ours(&self, name: &str) -> Result<Option<ConfigMap>, ObjectError> {
        let found = self.any(name).await?;
        if let Some(map) = &found {
            Ownership::of(&map.metadata, self.fleet).require("ConfigMap", name)?;
        }
        Ok(found)
    }

    fn meta(&self, name: &str) -> ObjectMeta {
        Part::of(self.fleet, Component::Fleet).outliving(name)
    }

    /// Makes the journal. An existing journal stays as it is, and the next pass reads it.
    pub(crate) async fn make_journal(&self, journal: &Journal) -> Result<(), ObjectError> {
        let name = self.fleet.names().journal();
        let map =
            ConfigMap { metadata: self.meta(&name), data: Some(journal.write()), ..ConfigMap::default() };
        match self.api.create(&made(), &map).await {
            Err(kube::Error::Api(e)) if e.code == 409 => Ok(()),
            other => other.map(drop).map_err(|e| ObjectError::of("ConfigMap", &name, e)),
        }
    }

    /// Advances the journal's stage. If it has changed since it was read, nothing is written and the next pass decides again.
    pub(crate) async fn advance(&self, journal: &Journal) -> Result<(), ObjectError> {
        let name = self.fleet.names().journal();
        let Some(map) = self.ours(&name).await? else { return Ok(()) };
        let found = map.data.as_ref().and_then(|d| Journal::read(&name, d).ok());
        if found.is_none_or(|f| f.fleet != journal.fleet || f.stage >= journal.stage) {
            return Ok(());
        }
        // The resource version makes a stale write fail: it could set the journal back.
        let body = json!({ "metadata": { "resourceVersion": map.metadata.resource_version }, "data": journal.write() });
        match self.api.patch(&name, &changed(), &Patch::Merge(&body)).await {
            Err(kube::Error::Api(e)) if e.code == 409 => Ok(()),
            other => other.map(drop).map_err(|e| ObjectError::of("ConfigMap", &name, e)),
        }
    }

    /// Keeps bytes under a key of one of our ConfigMaps; other keys stay.
    pub(crate) async fn keep(
        &self,
        name: &str,
        text: BTreeMap<String, String>,
        bytes: BTreeMap<String, Vec<u8>>,
    ) -> Result<(), ObjectError> {
        self.ours(name).await?;
        let map = ConfigMap {
            metadata: self.meta(name),
            data: Some(text).filter(|t| !t.is_empty()),
            binary_data: Some(bytes.into_iter().map(|(k, v)| (k, ByteString(v))).collect()),
            ..ConfigMap::default()
        };
        // A merge and not an apply: the two documents are kept one after the other.
        let body = serde_json::to_value(&map).unwrap_or_default();
        let done = match self.api.patch(name, &changed(), &Patch::Merge(&body)).await {
            Err(kube::Error::Api(e)) if e.code == 404 => self.api.create(&made(), &map).await,
            done => done,
        };
        done.map(drop).map_err(|e| ObjectError::of("ConfigMap", name, e))
    }

    /// Deletes one of ours.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), ObjectError> {
        if self.ours(name).await?.is_none() {
            return Ok(());
        }
        match self.api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(e)) if e.code == 404 => Ok(()),
            other => other.map(drop).map_err(|e| ObjectError::of("ConfigMap", name, e)),
        }
    }
}

fn made() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

fn changed() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// Bytes under a key, from either half of a ConfigMap. Text is taken as it is.
pub(crate) fn bytes(map: &ConfigMap, key: &str) -> Option<Vec<u8>> {
    let binary = map.binary_data.as_ref().and_then(|d| d.get(key)).map(|b| b.0.clone());
    binary.or_else(|| map.data.as_ref()?.get(key).map(|t| t.clone().into_bytes()))
}
