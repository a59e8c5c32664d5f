//! What lies in the cluster, as far as it is ours: a few bytes of metadata for each object, kept up to date by watches. Whole objects would be most of
//! the operator's memory with hundreds of fleets.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt as _};
use tokio::sync::mpsc;
use tokio::sync::watch;

use super::object::SeenObject;
use crate::kinds::{ALL, Kind};
use crate::labels::{MANAGED_BY, MANAGER, VAULT};
use crate::resource::BackupKeyVault;

/// After a watch has failed.
const RETRY: Duration = Duration::from_secs(1);
/// Whether a kind has come that the cluster did not know.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// The resource that it belongs to.
    pub vault: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl Key {
    fn resource(&self) -> (String, String) {
        (self.namespace.clone(), self.vault.clone())
    }

    fn object(&self) -> (&'static str, Box<str>) {
        (self.kind, self.name.as_str().into())
    }
}

/// One object as it was seen last, and as it was when it was applied.
#[derive(Clone, Copy)]
struct Entry {
    object: SeenObject,
    applied: Option<Applied>,
}

/// What was applied, and which fields were ours then: a change since then is somebody's drift and is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Hash of what was applied.
    pub hash: u64,
    /// [`SeenObject::fields`] right after it.
    pub fields: u64,
}

#[derive(Default)]
struct Inner {
    /// Namespace and resource → kind and name → object. In two steps, so that the names of hundreds of resources are not kept with each of their objects.
    objects: BTreeMap<(String, String), BTreeMap<(&'static str, Box<str>), Entry>>,
    /// Kinds (with the namespace that is watched, empty for all) that were listed once: the cluster knows them.
    listed: HashSet<(&'static str, String)>,
}

/// What lies in the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Seen {
    inner: Arc<Mutex<Inner>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { inner: Arc::default(), changes: Arc::new(watch::Sender::new(0)) }
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object, and what was applied to it.
    pub fn get(&self, key: &Key) -> Option<(SeenObject, Option<Applied>)> {
        let inner = self.lock();
        let entry = inner.objects.get(&key.resource())?.get(&key.object())?;
        Some((entry.object, entry.applied))
    }

    /// Takes over what the server has just answered, so that the next pass does not depend on how fast a watch is.
    pub fn put(&self, key: &Key, object: SeenObject, applied: Applied) {
        let entry = Entry { object, applied: Some(applied) };
        self.lock().objects.entry(key.resource()).or_default().insert(key.object(), entry);
    }

    /// Kinds and names of all objects of a resource.
    pub fn of(&self, namespace: &str, vault: &str) -> Vec<(&'static str, String, SeenObject)> {
        let inner = self.lock();
        let ours = inner.objects.get(&(namespace.to_owned(), vault.to_owned()));
        ours.into_iter().flatten().map(|((kind, name), e)| (*kind, name.to_string(), e.object)).collect()
    }

    /// What was applied to a resource's objects counts no more: the resource is gone.
    pub fn forget(&self, namespace: &str, vault: &str) {
        let mut inner = self.lock();
        let ours = inner.objects.get_mut(&(namespace.to_owned(), vault.to_owned()));
        ours.into_iter().flatten().for_each(|(_, entry)| entry.applied = None);
    }

    /// Does the cluster know the kind, and may we list it?
    pub fn knows(&self, kind: &str) -> bool {
        self.lock().listed.iter().any(|(k, _)| *k == kind)
    }

    /// Waits until every kind that each cluster has was listed in each of these namespaces.
    pub async fn ready(&self, namespaces: &[String]) {
        let mut changes = self.changes.subscribe();
        loop {
            let missing = {
                let inner = self.lock();
                let all = ALL.iter().filter(|k| k.always);
                let mut pairs = all.flat_map(|k| namespaces.iter().map(move |n| (k.kind, n.clone())));
                pairs.any(|pair| !inner.listed.contains(&pair))
            };
            if !missing || changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn take(&self, kind: Kind, object: &PartialObjectMeta<DynamicObject>) -> Option<Key> {
        let key = Key {
            namespace: object.namespace()?,
            vault: object.labels().get(VAULT)?.clone(),
            kind: kind.kind,
            name: object.name_any(),
        };
        let seen = SeenObject::of(&object.metadata);
        let mut inner = self.lock();
        let ours = inner.objects.entry(key.resource()).or_default();
        ours.entry(key.object())
            .and_modify(|e| e.object = seen)
            .or_insert(Entry { object: seen, applied: None });
        drop(inner);
        Some(key)
    }

    fn remove(&self, key: &Key) {
        let mut inner = self.lock();
        let resource = key.resource();
        if let Some(ours) = inner.objects.get_mut(&resource) {
            ours.remove(&key.object());
            if ours.is_empty() {
                inner.objects.remove(&resource);
            }
        }
    }

    fn end_of_list(&self, kind: Kind, namespace: &str, names: &HashSet<(String, String)>) {
        let mut inner = self.lock();
        inner.objects.retain(|(place, _), ours| {
            if namespace.is_empty() || place == namespace {
                ours.retain(|(k, name), _| {
                    *k != kind.kind || names.contains(&(place.clone(), name.to_string()))
                });
            }
            !ours.is_empty()
        });
        inner.listed.insert((kind.kind, namespace.to_owned()));
        drop(inner);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Watches one kind in one namespace (empty: all) for ever; says which resource to look at.
    pub async fn watch(
        self,
        client: Client,
        kind: Kind,
        namespace: String,
        changed: mpsc::UnboundedSender<ObjectRef<BackupKeyVault>>,
    ) {
        let resource = kind.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = if namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &namespace, &resource)
        };
        let config = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}")).any_semantic();
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        let (mut names, mut failing) = (HashSet::new(), false);
        let tell = |key: &Key| {
            let _ = changed.send(ObjectRef::new(&key.vault).within(&key.namespace));
        };
        loop {
            match events.try_next().await {
                Ok(Some(event)) => {
                    // Each try begins with an Init, also one that then fails.
                    failing &= matches!(event, Event::Init);
                    match event {
                        Event::Init => names.clear(),
                        Event::InitApply(o) => {
                            names.insert((o.namespace().unwrap_or_default(), o.name_any()));
                            self.take(kind, &o);
                        }
                        Event::InitDone => self.end_of_list(kind, &namespace, &names),
                        Event::Apply(o) => {
                            if let Some(key) = self.take(kind, &o) {
                                tell(&key);
                            }
                        }
                        Event::Delete(o) => {
                            if let Some(key) = self.take(kind, &o) {
                                self.remove(&key);
                                tell(&key);
                            }
                        }
                    }
                }
                Ok(None) => return,
                Err(e) => {
                    // Said once per streak; a kind that the cluster does not know is no fault.
                    match (failing, kind.always) {
                        (true, _) => {}
                        (false, true) => {
                            tracing::warn!(kind = kind.kind, error = %e, "can't watch; tried again");
                        }
                        (false, false) => {
                            tracing::info!(kind = kind.kind, "not known here, or not allowed: left out");
                        }
                    }
                    failing = true;
                    // The watcher's own pause begins anew with each Init.
                    tokio::time::sleep(if kind.always { RETRY } else { LOOK_AGAIN }).await;
                }
            }
        }
    }
}
