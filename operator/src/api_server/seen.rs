//! Our objects in the cluster, kept up to date by watches. Reading them in each pass would be most of the API server's work.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::absence::Absence;
use super::child::ChildSeen;
use super::coverage::Coverage;
use super::error::ObjectError;
use super::object::{SeenObject, Written};
use super::table::{Children, Key, Table};
use crate::kinds::Kind;

#[derive(Default)]
struct Inner {
    objects: Table,
    coverage: Coverage,
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
        self.lock().objects.get(key)
    }

    /// Records the server's answer to a write, so that the next pass does not depend on the watch's speed.
    pub(crate) fn put(&self, key: &Key, object: SeenObject, written: Written) {
        self.lock().objects.put(key, object, written);
    }

    /// Kinds and names of all objects of a resource.
    pub(crate) fn of(&self, namespace: &str, vault: &str) -> Vec<(Kind, String, SeenObject)> {
        self.lock().objects.of(namespace, vault)
    }

    /// Pods, workloads and volume claims of a resource. An error while one of those kinds can't be watched, because its state may be stale.
    pub(crate) fn children(&self, namespace: &str, vault: &str) -> Result<Children, ObjectError> {
        let inner = self.lock();
        inner.coverage.sees_children(namespace)?;
        Ok(inner.objects.children(namespace, vault))
    }

    /// Forgets what was applied to the objects of a deleted resource.
    pub(crate) fn forget(&self, namespace: &str, vault: &str) {
        self.lock().objects.forget_written(namespace, vault);
    }

    /// Does the cluster know the kind, and may we list it?
    pub(crate) fn knows(&self, kind: Kind) -> bool {
        self.lock().coverage.knows(kind)
    }

    /// Why the kind is unknown. None if it is known.
    pub(crate) fn absence(&self, kind: Kind) -> Option<Absence> {
        self.lock().coverage.absence(kind)
    }

    /// Waits until every built-in kind was listed in each namespace and every optional one had an answer. The plan must not depend on which watch is faster,
    /// and a broken optional kind must not hold up the others.
    pub(crate) async fn ready(&self, namespaces: &[String]) {
        let mut changes = self.changes.subscribe();
        while !self.lock().coverage.is_complete(namespaces) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Records what a watch reports. Returns true if it is news. Our own writes are not.
    pub(super) fn take(&self, key: &Key, object: SeenObject, child: Option<ChildSeen>) -> bool {
        self.lock().objects.take(key, object, child)
    }

    /// It is gone.
    pub(super) fn remove(&self, key: &Key) {
        self.lock().objects.remove(key);
    }

    /// A list is complete. Objects that it did not name are gone.
    pub(super) fn end_of_list(&self, kind: Kind, namespace: &str, names: &HashSet<(String, String)>) {
        let mut inner = self.lock();
        inner.objects.retain(kind, namespace, names);
        inner.coverage.listed(kind, namespace);
        drop(inner);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Records that the kind can't be watched now, and the error. An optional kind that is gone, or that we may no longer list, is neither planned nor
    /// pruned.
    pub(super) fn failed(&self, kind: Kind, namespace: &str, absence: Option<Absence>, why: String) {
        let mut inner = self.lock();
        if inner.coverage.failed(kind, namespace, absence, why) {
            inner.objects.retain(kind, namespace, &HashSet::new());
        }
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
            seen.get(&a).unwrap().1.map(|written| written.hash),
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
