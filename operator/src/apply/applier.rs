//! Applies and prunes the objects of one resource.

use std::collections::BTreeSet;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::api_server::{Key, ObjectError, Seen, SeenObject, Written, short_hash};
use crate::kinds::{Kind, Kinds};
use crate::labels::{APPLIED_HASH, MANAGER, ours};

/// The resource that owns the objects.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// The resource's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// An object as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All fields that the operator sets.
    pub body: Value,
    /// It has our owner reference. Objects without it outlive the resource.
    pub owned: bool,
}

/// Applies. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Applier {
    client: Client,
    seen: Seen,
}

impl Applier {
    /// Over a client and what is seen.
    pub(crate) fn new(client: Client, seen: Seen) -> Self {
        Self { client, seen }
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }

    /// Applies what differs; true if something was written.
    pub(crate) async fn apply(&self, owner: &Owner, wanted: Wanted) -> Result<bool, ObjectError> {
        let Wanted { kind, name, mut body, owned } = wanted;
        let key =
            Key { namespace: owner.namespace.clone(), vault: owner.name.clone(), kind, name: name.clone() };
        let hash = hash(&body);
        let failed = |e| ObjectError::of(kind.name(), &name, e);
        let (known, applied) = match self.seen.get(&key) {
            Some((known, applied)) => (Some(known), applied),
            // No labelled object: the name is free, or foreign, or too new for the watch.
            None => match self.api(kind, &owner.namespace).get_metadata_opt(&name).await.map_err(failed)? {
                Some(found) if !ours(&found.metadata, &owner.name) => {
                    return Err(ObjectError::Collision { kind: kind.name(), name });
                }
                Some(found) => (Some(SeenObject::of(&found.metadata)), None),
                None => (None, None),
            },
        };
        if let Some(known) = &known {
            if owned && !known.belongs_to(&owner.uid) {
                return Err(if known.of_us {
                    ObjectError::Leaving { kind: kind.name(), name }
                } else {
                    ObjectError::Collision { kind: kind.name(), name }
                });
            }
            // After a start the operator applies everything once. The server does not store an unchanged object.
            if known.is_as_written(hash, applied) {
                return Ok(false);
            }
        }
        if let Some(meta) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            let notes = meta.entry("annotations").or_insert_with(|| json!({}));
            if let Some(notes) = notes.as_object_mut() {
                notes.insert(APPLIED_HASH.to_owned(), format!("{hash:016x}").into());
            }
        }
        let params = PatchParams::apply(MANAGER).force();
        let done = self
            .api(kind, &owner.namespace)
            .patch(&name, &params, &Patch::Apply(&body))
            .await
            .map_err(failed)?;
        let now = SeenObject::of(&done.metadata);
        let wrote = known.is_none_or(|before| before.fields != now.fields);
        self.seen.put(&key, now, Written { hash, fields: now.fields });
        Ok(wrote)
    }

    /// Deletes our objects that are no longer planned and returns their names. `kinds`: the kinds that the plan was made with. A kind that was installed
    /// since then was not planned, so its objects stay.
    pub(crate) async fn prune(
        &self,
        owner: &Owner,
        planned: &BTreeSet<(Kind, String)>,
        kinds: &Kinds,
    ) -> Result<Vec<String>, ObjectError> {
        let mut gone = Vec::new();
        for (kind, name, object) in self.seen.of(&owner.namespace, &owner.name) {
            if !kind.prunable() || !kinds.contains(&kind) {
                continue;
            }
            if object.going || !object.belongs_to(&owner.uid) || planned.contains(&(kind, name.clone())) {
                continue;
            }
            if self
                .delete_if_owned(owner, kind, &name)
                .await
                .map_err(|e| ObjectError::of(kind.name(), &name, e))?
            {
                gone.push(format!("{kind} {name}"));
            }
        }
        Ok(gone)
    }

    /// Deletes one object if its owner is still this resource. Returns true if it did.
    async fn delete_if_owned(&self, owner: &Owner, kind: Kind, name: &str) -> kube::Result<bool> {
        let api = self.api(kind, &owner.namespace);
        let Some(found) = api.get_metadata_opt(name).await? else { return Ok(false) };
        let ours = found.owner_references().iter().any(|o| o.controller == Some(true) && o.uid == owner.uid);
        if !ours {
            return Ok(false);
        }
        let only_this = Preconditions { uid: found.metadata.uid, resource_version: None };
        let params = DeleteParams { preconditions: Some(only_this), ..DeleteParams::background() };
        match api.delete(name, &params).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(e)) if e.code == 404 || e.code == 409 => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn hash(body: &Value) -> u64 {
    // serde_json's maps are sorted, so the text is the same for the same content.
    short_hash(&body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_does_not_depend_on_the_order_of_fields() {
        assert_eq!(hash(&json!({"a": 1, "b": 2})), hash(&json!({"b": 2, "a": 1})));
        assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": 2})));
    }
}
