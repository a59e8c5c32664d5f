//! The table of our objects: a few bytes for each. With hundreds of fleets, whole objects would be most of the operator's memory.

use std::collections::{BTreeMap, HashSet};

use super::child::ChildSeen;
use super::object::{SeenObject, Written};
use crate::kinds::Kind;

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

/// Kind → name → what is seen of it.
pub(crate) type Children = BTreeMap<Kind, BTreeMap<String, ChildSeen>>;

/// One object as it was seen last, and as it was when it was applied.
struct Entry {
    object: SeenObject,
    written: Option<Written>,
    /// Its state, where that is the fleet's too.
    child: Option<ChildSeen>,
}

type Entries = BTreeMap<(Kind, Box<str>), Entry>;

/// Namespace and resource → kind and name → object. Two levels, so that a resource's name is not stored with each of its objects.
#[derive(Default)]
pub(super) struct Table(BTreeMap<(String, String), Entries>);

impl Table {
    fn resource(&self, namespace: &str, vault: &str) -> Option<&Entries> {
        self.0.get(&(namespace.to_owned(), vault.to_owned()))
    }

    pub(super) fn get(&self, key: &Key) -> Option<(SeenObject, Option<Written>)> {
        let entry = self.0.get(&key.resource())?.get(&key.object())?;
        Some((entry.object, entry.written))
    }

    pub(super) fn put(&mut self, key: &Key, object: SeenObject, written: Written) {
        let ours = self.0.entry(key.resource()).or_default();
        let child = ours.remove(&key.object()).and_then(|e| e.child);
        ours.insert(key.object(), Entry { object, written: Some(written), child });
    }

    /// Returns true if it is news.
    pub(super) fn take(&mut self, key: &Key, object: SeenObject, child: Option<ChildSeen>) -> bool {
        let ours = self.0.entry(key.resource()).or_default();
        let before = ours.remove(&key.object());
        let news = before.as_ref().is_none_or(|b| b.object != object || b.child != child);
        ours.insert(key.object(), Entry { object, written: before.and_then(|b| b.written), child });
        news
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let resource = key.resource();
        if let Some(ours) = self.0.get_mut(&resource) {
            ours.remove(&key.object());
            if ours.is_empty() {
                self.0.remove(&resource);
            }
        }
    }

    pub(super) fn of(&self, namespace: &str, vault: &str) -> Vec<(Kind, String, SeenObject)> {
        let ours = self.resource(namespace, vault).into_iter().flatten();
        ours.map(|((kind, name), e)| (*kind, name.to_string(), e.object)).collect()
    }

    pub(super) fn children(&self, namespace: &str, vault: &str) -> Children {
        let mut children = Children::default();
        for ((kind, name), entry) in self.resource(namespace, vault).into_iter().flatten() {
            if let Some(child) = &entry.child {
                children.entry(*kind).or_default().insert(name.to_string(), child.clone());
            }
        }
        children
    }

    /// Forgets what was applied to the objects of a resource.
    pub(super) fn forget_written(&mut self, namespace: &str, vault: &str) {
        let ours = self.0.get_mut(&(namespace.to_owned(), vault.to_owned()));
        ours.into_iter().flatten().for_each(|(_, entry)| entry.written = None);
    }

    /// Removes the objects of a kind in the watched namespace (empty: in all), except those of `names`: namespace and name.
    pub(super) fn retain(&mut self, kind: Kind, namespace: &str, names: &HashSet<(String, String)>) {
        self.0.retain(|(place, _), ours| {
            if namespace.is_empty() || place == namespace {
                ours.retain(|(k, name), _| *k != kind || names.contains(&(place.clone(), name.to_string())));
            }
            !ours.is_empty()
        });
    }
}
