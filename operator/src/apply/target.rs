//! Applies and prunes the objects of one resource.

use std::collections::BTreeSet;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::object::{SeenObject, short_hash};
use super::seen::{Applied, Key, Seen};
use crate::kinds::{Kind, Kinds};
use crate::labels::{APPLIED_HASH, MANAGER, ours};

/// The resource that owns the objects.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The resource's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// An object as it should be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All fields that the operator sets.
    pub body: Value,
    /// It has our owner reference. Objects without it outlive the resource.
    pub owned: bool,
}

/// Something could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A foreign object has that name.
    #[error(
        "{kind} {name} exists and does not belong to this resource (see its labels and owner): rename the resource, or remove that object if nobody needs it. Without its PIN another vault would lose its keys"
    )]
    Collision {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
    },
    /// It belongs to a deleted resource of the same name. The garbage collector removes it.
    #[error(
        "{kind} {name} belongs to a deleted resource of the same name: the operator waits until the garbage collector has removed it"
    )]
    Leaving {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
    },
    /// A quota is used up.
    #[error("{kind} {name}: {why}; raise the ResourceQuota, or ask for less")]
    Quota {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// The server's message.
        why: String,
    },
    /// The server refuses the object: an admission rule, or a field that can't change.
    #[error("{kind} {name} is refused: {why}")]
    Refused {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// The server's message.
        why: String,
    },
    /// The operator's role lacks something.
    #[error("{kind} {name}: {why}; give the operator the roles of its chart")]
    Forbidden {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// The server's message.
        why: String,
    },
    /// Objects of this kind can't be watched now. Their known state may be stale, so the pass does nothing.
    #[error("objects of kind {kind} can't be watched: {why}{}", if *forbidden { "; give the operator the roles of its chart" } else { "" })]
    Unseen {
        /// Kind.
        kind: &'static str,
        /// The watch's error.
        why: String,
        /// The operator's role lacks it.
        forbidden: bool,
    },
    /// The server can't be reached or fails. The pass is tried again.
    #[error("{kind} {name}")]
    Server {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl ApplyError {
    pub(crate) fn of(kind: &'static str, name: &str, error: kube::Error) -> Self {
        let name = name.to_owned();
        let kube::Error::Api(answer) = &error else {
            return Self::Server { kind, name, source: error.into() };
        };
        let why = answer.message.clone();
        match answer.code {
            403 if why.contains("exceeded quota") => Self::Quota { kind, name, why },
            // Only the authorizer's message has the verb. Without it an admission rule refused the object.
            403 if why.contains("cannot ") => Self::Forbidden { kind, name, why },
            400 | 403 | 413 | 422 => Self::Refused { kind, name, why },
            _ => Self::Server { kind, name, source: error.into() },
        }
    }
}

/// Applies. Cheap to clone.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    seen: Seen,
}

impl Applier {
    /// Over a client and what is seen.
    pub fn new(client: Client, seen: Seen) -> Self {
        Self { client, seen }
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }

    /// Applies what differs; true if something was written.
    pub async fn apply(&self, owner: &Owner, wanted: Wanted) -> Result<bool, ApplyError> {
        let Wanted { kind, name, mut body, owned } = wanted;
        let key =
            Key { namespace: owner.namespace.clone(), vault: owner.name.clone(), kind, name: name.clone() };
        let hash = hash(&body);
        let failed = |e| ApplyError::of(kind.name(), &name, e);
        let (known, applied) = match self.seen.get(&key) {
            Some((known, applied)) => (Some(known), applied),
            // No labelled object: the name is free, or foreign, or too new for the watch.
            None => match self.api(kind, &owner.namespace).get_metadata_opt(&name).await.map_err(failed)? {
                Some(found) if !ours(&found.metadata, &owner.name) => {
                    return Err(ApplyError::Collision { kind: kind.name(), name });
                }
                Some(found) => (Some(SeenObject::of(&found.metadata)), None),
                None => (None, None),
            },
        };
        if let Some(known) = &known {
            if owned && known.owner != Some(short_hash(&owner.uid)) {
                return Err(if known.of_us {
                    ApplyError::Leaving { kind: kind.name(), name }
                } else {
                    ApplyError::Collision { kind: kind.name(), name }
                });
            }
            // After a start the operator applies everything once. The server does not store an unchanged object.
            if known.hash == Some(hash) && applied == Some(Applied { hash, fields: known.fields }) {
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
        self.seen.put(&key, now, Applied { hash, fields: now.fields });
        Ok(wrote)
    }

    /// Deletes our objects that are no longer planned and returns their names. `kinds`: the kinds that the plan was made with. A kind that was installed
    /// since then was not planned, so its objects stay.
    pub async fn prune(
        &self,
        owner: &Owner,
        planned: &BTreeSet<(Kind, String)>,
        kinds: &Kinds,
    ) -> Result<Vec<String>, ApplyError> {
        let mut gone = Vec::new();
        for (kind, name, object) in self.seen.of(&owner.namespace, &owner.name) {
            if !kind.prunable() || !kinds.contains(&kind) {
                continue;
            }
            let controlled = object.owner == Some(short_hash(&owner.uid));
            if object.going || !controlled || planned.contains(&(kind, name.clone())) {
                continue;
            }
            if self.take_away(owner, kind, &name).await.map_err(|e| ApplyError::of(kind.name(), &name, e))? {
                gone.push(format!("{kind} {name}"));
            }
        }
        Ok(gone)
    }

    /// Deletes one object if its owner is still this resource. Returns true if it did.
    async fn take_away(&self, owner: &Owner, kind: Kind, name: &str) -> kube::Result<bool> {
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

    /// Forgets a deleted resource.
    pub fn forget(&self, namespace: &str, vault: &str) {
        self.seen.forget(namespace, vault);
    }
}

fn hash(body: &Value) -> u64 {
    // serde_json's maps are sorted, so the text is the same for the same content.
    short_hash(&body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status {
            code,
            message: message.into(),
            ..kube::core::Status::default()
        }))
    }

    #[test]
    fn a_server_message_becomes_an_error_that_a_person_can_act_on() {
        let of = |code, message| ApplyError::of("Service", "demo-chatd", api(code, message));
        assert!(matches!(of(403, "exceeded quota: q, requested: pods=1"), ApplyError::Quota { .. }));
        assert!(matches!(
            of(403, "User \"x\" cannot patch resource \"services\""),
            ApplyError::Forbidden { .. }
        ));
        assert!(matches!(of(403, "violates PodSecurity \"restricted:latest\""), ApplyError::Refused { .. }));
        assert!(matches!(
            of(422, "spec: Forbidden: updates to statefulset spec"),
            ApplyError::Refused { .. }
        ));
        assert!(matches!(of(500, "etcd"), ApplyError::Server { .. }));
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order_of_fields() {
        assert_eq!(hash(&json!({"a": 1, "b": 2})), hash(&json!({"b": 2, "a": 1})));
        assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": 2})));
    }
}
