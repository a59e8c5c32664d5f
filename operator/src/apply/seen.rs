//! What lies in the cluster, as far as it is ours: a few bytes of metadata for each object, kept up to date by watches. Whole objects would be most of
//! the operator's memory with hundreds of fleets.

use std::collections::{BTreeMap, HashMap, HashSet};
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

use super::absence::Absence;
use super::object::SeenObject;
use crate::kinds::{ALL, Kind};
use crate::labels::{MANAGED_BY, MANAGER, VAULT};
use crate::resource::BackupKeyVault;

/// After a watch has failed.
const RETRY: Duration = Duration::from_secs(1);

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

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, SeenObject>,
    /// Kinds (with the namespace that is watched, empty for all) that were listed once: the cluster knows them.
    listed: HashSet<(&'static str, String)>,
    /// Kinds of which a list was asked for once, and an answer came, whichever.
    tried: HashSet<(&'static str, String)>,
    /// Kinds that can't be listed, and why.
    absent: HashMap<(&'static str, String), Absence>,
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

    /// One object.
    pub fn get(&self, key: &Key) -> Option<SeenObject> {
        self.lock().objects.get(key).cloned()
    }

    /// Takes over what the server has just answered, so that the next pass does not depend on how fast a watch is.
    pub fn put(&self, key: Key, object: SeenObject) {
        self.lock().objects.insert(key, object);
    }

    /// All objects of a resource.
    pub fn of(&self, namespace: &str, vault: &str) -> Vec<(Key, SeenObject)> {
        let from = Key { namespace: namespace.into(), vault: vault.into(), kind: "", name: String::new() };
        let inner = self.lock();
        let range = inner.objects.range(from..);
        let ours = range.take_while(|(k, _)| k.namespace == namespace && k.vault == vault);
        ours.map(|(k, o)| (k.clone(), o.clone())).collect()
    }

    /// Does the cluster know the kind, and may we list it?
    pub fn knows(&self, kind: &str) -> bool {
        self.lock().listed.iter().any(|(k, _)| *k == kind)
    }

    /// Why the kind is not known, if it is so.
    pub fn absence(&self, kind: &str) -> Option<Absence> {
        let inner = self.lock();
        let known = inner.listed.iter().any(|(k, _)| *k == kind);
        inner.absent.iter().find(|((k, _), _)| *k == kind && !known).map(|(_, why)| *why)
    }

    /// Waits until every kind that each cluster has was listed in each of these namespaces, and every other one was asked for: what is planned must not
    /// depend on which watch is the faster. Somebody else's kind that is broken must not hold the rest up.
    pub async fn ready(&self, namespaces: &[String]) {
        let mut changes = self.changes.subscribe();
        loop {
            let missing = {
                let inner = self.lock();
                let mut pairs = ALL.iter().flat_map(|k| namespaces.iter().map(move |n| (k, n.clone())));
                pairs.any(|(k, n)| {
                    let answered = if k.always { &inner.listed } else { &inner.tried };
                    !answered.contains(&(k.kind, n))
                })
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
        self.lock().objects.insert(key.clone(), SeenObject::of(&object.metadata));
        Some(key)
    }

    fn end_of_list(&self, kind: Kind, namespace: &str, names: &HashSet<(String, String)>) {
        let mut inner = self.lock();
        inner.objects.retain(|k, _| {
            let watched = k.kind == kind.kind && (namespace.is_empty() || k.namespace == namespace);
            !watched || names.contains(&(k.namespace.clone(), k.name.clone()))
        });
        inner.listed.insert((kind.kind, namespace.to_owned()));
        inner.tried.insert((kind.kind, namespace.to_owned()));
        inner.absent.remove(&(kind.kind, namespace.to_owned()));
        drop(inner);
        self.changes.send_modify(|n| *n += 1);
    }

    /// The kind can't be listed. Has it gone, or our right to it, or were they never there, then nothing of it is planned, and nothing of it is deleted.
    fn failed(&self, kind: Kind, namespace: &str, absence: Option<Absence>) {
        let mut inner = self.lock();
        let pair = (kind.kind, namespace.to_owned());
        if let Some(why) = absence {
            let elsewhere = |key: &Key| !namespace.is_empty() && key.namespace != namespace;
            inner.objects.retain(|key, _| key.kind != kind.kind || elsewhere(key));
            inner.listed.remove(&pair);
            inner.absent.insert(pair.clone(), why);
        }
        inner.tried.insert(pair);
        drop(inner);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Watches one kind in one namespace (empty: all) for ever; says which resource to look at. `look_again`: between two looks whether a kind has come
    /// that the cluster did not know.
    pub async fn watch(
        self,
        client: Client,
        kind: Kind,
        namespace: String,
        look_again: Duration,
        changed: mpsc::UnboundedSender<ObjectRef<BackupKeyVault>>,
    ) {
        let resource = kind.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = if namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &namespace, &resource)
        };
        let config = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}")).any_semantic();
        let begin = || watcher::watcher(api.clone(), config.clone()).default_backoff().boxed();
        let mut events = begin();
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
                                self.lock().objects.remove(&key);
                                tell(&key);
                            }
                        }
                    }
                }
                Ok(None) => return,
                Err(e) => {
                    let absence = Absence::of(&e).filter(|_| !kind.always);
                    // Said once per streak; a kind that the cluster does not know is no fault.
                    match (failing, absence) {
                        (true, _) => {}
                        (false, None) => {
                            tracing::warn!(kind = kind.kind, error = %e, "can't watch; tried again");
                        }
                        (false, Some(_)) => {
                            tracing::info!(kind = kind.kind, "not known here, or not allowed: left out");
                        }
                    }
                    failing = true;
                    // The watcher's own pause begins anew with each Init.
                    self.failed(kind, &namespace, absence);
                    if absence.is_none() {
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                    tokio::time::sleep(look_again).await;
                    // From a list on: where it stood, a kind that has come again would be watched and never listed.
                    events = begin();
                }
            }
        }
    }
}
