//! Reads and writes a fleet's Secrets by name. The operator never lists Secrets. Their content is wiped when it is dropped and never logged.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use zeroize::Zeroize as _;

use super::error::ObjectError;
use super::ownership::Ownership;
use crate::labels::MANAGER;
use crate::part::{Component, Part};
use crate::validate::Fleet;

/// A Secret's content; wiped when dropped.
pub(crate) struct SecretContent(BTreeMap<String, Vec<u8>>);

impl SecretContent {
    #[cfg(test)]
    pub(crate) fn of(data: BTreeMap<String, Vec<u8>>) -> Self {
        Self(data)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|b| std::str::from_utf8(b).ok())
    }
}

impl Drop for SecretContent {
    fn drop(&mut self) {
        self.0.values_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

/// Reads and writes a fleet's Secrets.
pub(crate) struct SecretStore<'a> {
    api: Api<Secret>,
    fleet: &'a Fleet,
}

impl<'a> SecretStore<'a> {
    pub(crate) fn of(client: &Client, fleet: &'a Fleet) -> Self {
        Self { api: Api::namespaced(client.clone(), &fleet.namespace), fleet }
    }

    /// Its content and its owner.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<(SecretContent, Ownership)>, ObjectError> {
        let found = self.api.get_opt(name).await.map_err(|e| ObjectError::of("Secret", name, e))?;
        Ok(found.map(|mut secret| {
            let ownership = Ownership::of(&secret.metadata, self.fleet);
            let data = secret.data.take().unwrap_or_default();
            (SecretContent(data.into_iter().map(|(k, v)| (k, v.0)).collect()), ownership)
        }))
    }

    /// Its content. A foreign Secret of that name is an error.
    pub(crate) async fn ours(&self, name: &str) -> Result<Option<SecretContent>, ObjectError> {
        let Some((content, ownership)) = self.read(name).await? else { return Ok(None) };
        ownership.require("Secret", name)?;
        Ok(Some(content))
    }

    /// Creates a Secret that must never be replaced, such as a token's PIN. If it exists by now this fails, and the next pass reads it.
    pub(crate) async fn make(
        &self,
        name: &str,
        data: BTreeMap<&str, &[u8]>,
        owned: bool,
    ) -> Result<(), ObjectError> {
        let mut secret = self.secret(name, "Opaque", data, owned);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let done = self.api.create(&params, &secret).await;
        wipe(&mut secret);
        done.map(drop).map_err(|e| ObjectError::of("Secret", name, e))
    }

    /// Writes one. An `owned` Secret is deleted with the resource.
    pub(crate) async fn write(
        &self,
        name: &str,
        kind: &str,
        data: BTreeMap<&str, &[u8]>,
        owned: bool,
    ) -> Result<(), ObjectError> {
        let mut secret = self.secret(name, kind, data, owned);
        // A foreign Secret is not overwritten. Server-side apply removes keys that a later write leaves out.
        self.ours(name).await?;
        let done = self.api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&secret)).await;
        wipe(&mut secret);
        done.map(drop).map_err(|e| ObjectError::of("Secret", name, e))
    }

    fn secret(&self, name: &str, kind: &str, data: BTreeMap<&str, &[u8]>, owned: bool) -> Secret {
        let part = Part::of(self.fleet, Component::Pki);
        Secret {
            metadata: if owned { part.owned(name) } else { part.outliving(name) },
            type_: Some(kind.to_owned()),
            data: Some(data.into_iter().map(|(k, v)| (k.to_owned(), ByteString(v.to_vec()))).collect()),
            ..Secret::default()
        }
    }
}

fn wipe(secret: &mut Secret) {
    for value in secret.data.iter_mut().flat_map(BTreeMap::values_mut) {
        value.0.zeroize();
    }
}
