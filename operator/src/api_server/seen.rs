//! Our objects in the cluster: a few bytes for each, kept up to date by watches. With hundreds of fleets, whole objects would be most of the operator's
//! memory, and reading them in each pass most of the API server's work.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use strum::VariantArray as _;
use tokio::sync::watch;

use super::absence::Absence;
use super::error::ObjectError;
use super::object::SeenObject;
use crate::kinds::Kind;
use crate::observe::ChildSeen;

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Its namespace.
    pub namespace: String,
    /// The resource that it belongs to.
    pub vault: String,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl Key {
    fn resource(&self) -> (String, String) {
        (self.namespace.clone(), self.vault.clone())
    }

    fn object(&self) -> (Kind, Box<str>) {
        (self.kind, self.name.as_str().into())
    }
}

/// One object as it was seen last, and as it was when it was applied.
struct Entry {
    object: SeenObject,
    applied: Option<Written>,
    /// Its state, where that is the fleet's too.
    child: Option<ChildSeen>,
}

/// Kind → name → what is seen of it.
pub(crate) type Children = BTreeMap<Kind, BTreeMap<String, ChildSeen>>;

/// The applied content and the fields that were ours right after it. A later change is drift, and the next pass undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Hash of what was applied.
    pub hash: u64,
    /// [`SeenObject::fields`] right after it.
    pub fields: u64,
}

/// Why a kind is not seen now.
#[derive(Clone)]
struct Blind {
    why: String,
    forbidden: bool,
}

#[derive(Default)]
struct Inner {
    /// Namespace and resource → kind and name → object. Two levels, so that a resource's name is not stored with each of its objects.
    objects: BTreeMap<(String, String), BTreeMap<(Kind, Box<str>), Entry>>,
    /// Kinds that were listed once, with the watched namespace (empty for all). The cluster knows them.
    listed: HashSet<(Kind, String)>,
    /// Kinds with one answer to a list, good or bad.
    tried: HashSet<(Kind, String)>,
    /// Kinds that can't be listed, and why.
    absent: HashMap<(Kind, String), Absence>,
    /// Watches of children that fail now, and the error that a pass reports.
    blind: HashMap<(Kind, String), Blind>,
}

/// Our objects in the cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Seen {
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
        self.inner.lock()
    }

    /// One object, and what was applied to it.
    pub(crate) fn get(&self, key: &Key) -> Option<(SeenObject, Option<Written>)> {
        let inner = self.lock();
        let entry = inner.objects.get(&key.resource())?.get(&key.object())?;
        Some((entry.object, entry.applied))
    }

    /// Records the server's answer to a write, so that the next pass does not depend on the watch's speed.
    pub(crate) fn put(&self, key: &Key, object: SeenObject, applied: Written) {
        let mut inner = self.lock();
        let ours = inner.objects.entry(key.resource()).or_default();
        let child = ours.remove(&key.object()).and_then(|e| e.child);
        ours.insert(key.object(), Entry { object, applied: Some(applied), child });
    }

    /// Kinds and names of all objects of a resource.
    pub(crate) fn of(&self, namespace: &str, vault: &str) -> Vec<(Kind, String, SeenObject)> {
        let inner = self.lock();
        let ours = inner.objects.get(&(namespace.to_owned(), vault.to_owned()));
        ours.into_iter().flatten().map(|((kind, name), e)| (*kind, name.to_string(), e.object)).collect()
    }

    /// Pods, workloads and volume claims of a resource. An error while one of those kinds can't be watched, because its state may be stale.
    pub(crate) fn children(&self, namespace: &str, vault: &str) -> Result<Children, ObjectError> {
        let inner = self.lock();
        let blind = inner.blind.iter().find(|((_, place), _)| place.is_empty() || place == namespace);
        if let Some(((kind, _), Blind { why, forbidden })) = blind {
            return Err(ObjectError::Unseen { kind: kind.name(), why: why.clone(), forbidden: *forbidden });
        }
        let mut children = Children::default();
        let ours = inner.objects.get(&(namespace.to_owned(), vault.to_owned()));
        for ((kind, name), entry) in ours.into_iter().flatten() {
            if let Some(child) = &entry.child {
                children.entry(*kind).or_default().insert(name.to_string(), child.clone());
            }
        }
        Ok(children)
    }

    /// Forgets what was applied to the objects of a deleted resource.
    pub(crate) fn forget(&self, namespace: &str, vault: &str) {
        let mut inner = self.lock();
        let ours = inner.objects.get_mut(&(namespace.to_owned(), vault.to_owned()));
        ours.into_iter().flatten().for_each(|(_, entry)| entry.applied = None);
    }

    /// Does the cluster know the kind, and may we list it?
    pub(crate) fn knows(&self, kind: Kind) -> bool {
        self.lock().listed.iter().any(|(k, _)| *k == kind)
    }

    /// Why the kind is unknown. None if it is known.
    pub(crate) fn absence(&self, kind: Kind) -> Option<Absence> {
        let inner = self.lock();
        let known = inner.listed.iter().any(|(k, _)| *k == kind);
        inner.absent.iter().find(|((k, _), _)| *k == kind && !known).map(|(_, why)| *why)
    }

    /// Waits until every built-in kind was listed in each namespace and every optional one had an answer. The plan must not depend on which watch is faster,
    /// and a broken optional kind must not hold up the others.
    pub(crate) async fn ready(&self, namespaces: &[String]) {
        let mut changes = self.changes.subscribe();
        loop {
            let missing = {
                let inner = self.lock();
                let mut pairs =
                    Kind::VARIANTS.iter().flat_map(|k| namespaces.iter().map(move |n| (*k, n.clone())));
                pairs.any(|(k, n)| {
                    let answered = if k.optional() { &inner.tried } else { &inner.listed };
                    !answered.contains(&(k, n))
                })
            };
            if !missing || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Records what a watch reports. Returns true if it is news. Our own writes are not.
    pub(crate) fn take(&self, key: &Key, object: SeenObject, child: Option<ChildSeen>) -> bool {
        let mut inner = self.lock();
        let ours = inner.objects.entry(key.resource()).or_default();
        let before = ours.remove(&key.object());
        let news = before.as_ref().is_none_or(|b| b.object != object || b.child != child);
        ours.insert(key.object(), Entry { object, applied: before.and_then(|b| b.applied), child });
        news
    }

    /// It is gone.
    pub(crate) fn remove(&self, key: &Key) {
        let mut inner = self.lock();
        let resource = key.resource();
        if let Some(ours) = inner.objects.get_mut(&resource) {
            ours.remove(&key.object());
            if ours.is_empty() {
                inner.objects.remove(&resource);
            }
        }
    }

    /// A list is complete. Objects that it did not name are gone.
    pub(crate) fn end_of_list(&self, kind: Kind, namespace: &str, names: &HashSet<(String, String)>) {
        let mut inner = self.lock();
        inner.objects.retain(|(place, _), ours| {
            if namespace.is_empty() || place == namespace {
                ours.retain(|(k, name), _| *k != kind || names.contains(&(place.clone(), name.to_string())));
            }
            !ours.is_empty()
        });
        inner.listed.insert((kind, namespace.to_owned()));
        inner.tried.insert((kind, namespace.to_owned()));
        inner.absent.remove(&(kind, namespace.to_owned()));
        inner.blind.remove(&(kind, namespace.to_owned()));
        drop(inner);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Records that the kind can't be watched now, and the error. An optional kind that is gone, or that we may no longer list, is neither planned nor
    /// pruned.
    pub(crate) fn failed(&self, kind: Kind, namespace: &str, absence: Option<Absence>, why: String) {
        let mut inner = self.lock();
        let pair = (kind, namespace.to_owned());
        if kind.child() {
            let forbidden = absence == Some(Absence::Forbidden);
            inner.blind.insert(pair.clone(), Blind { why, forbidden });
        }
        if let Some(why) = absence.filter(|_| kind.optional()) {
            inner.objects.retain(|(place, _), ours| {
                if namespace.is_empty() || place == namespace {
                    ours.retain(|(k, _), _| *k != kind);
                }
                !ours.is_empty()
            });
            inner.listed.remove(&pair);
            inner.absent.insert(pair.clone(), why);
        }
        inner.tried.insert(pair);
        drop(inner);
        self.changes.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen_object(second: u8) -> SeenObject {
        let time = format!("2026-01-01T00:00:{second:02}Z");
        let ours = json!({ "manager": crate::labels::MANAGER, "operation": "Apply", "time": time, "fieldsV1": { "f:data": {} } });
        SeenObject::of(&serde_json::from_value(json!({ "managedFields": [ours] })).unwrap())
    }

    #[test]
    fn what_was_applied_by_us_is_no_news_and_what_others_change_is() {
        let key = |name: &str| Key {
            namespace: "n".into(),
            vault: "demo".into(),
            kind: Kind::Service,
            name: name.into(),
        };
        let (seen, a) = (Seen::default(), key("a"));
        seen.put(&a, seen_object(1), Written { hash: 7, fields: seen_object(1).fields });
        assert!(!seen.take(&a, seen_object(1), None));
        assert!(seen.take(&a, seen_object(2), None), "somebody has changed it");
        assert_eq!(
            seen.get(&a).unwrap().1.map(|applied| applied.hash),
            Some(7),
            "what was applied is remembered"
        );
        assert!(seen.take(&key("b"), seen_object(1), None));
        assert_eq!(seen.of("n", "demo").len(), 2);
        let service = Kind::Service;
        seen.end_of_list(service, "", &[("n".to_owned(), "b".to_owned())].into());
        assert!(seen.get(&a).is_none() && seen.get(&key("b")).is_some());
        assert!(seen.knows(Kind::Service) && !seen.knows(Kind::PodMonitor));
    }

    #[test]
    fn nothing_is_told_of_children_while_one_of_their_kinds_can_not_be_watched() {
        let (seen, pod) = (Seen::default(), Kind::Pod);
        assert!(seen.children("n", "demo").unwrap().is_empty());
        seen.failed(pod, "n", Some(Absence::Forbidden), "no".into());
        let told = seen.children("n", "demo");
        assert!(matches!(told, Err(ObjectError::Unseen { kind: "Pod", forbidden: true, .. })), "{told:?}");
        assert!(seen.children("elsewhere", "demo").is_ok());
        seen.end_of_list(pod, "n", &HashSet::new());
        seen.failed(Kind::Service, "", None, "away".into());
        assert!(seen.children("n", "demo").is_ok());
    }
}
