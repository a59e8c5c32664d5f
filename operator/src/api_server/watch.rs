//! Watches one kind, and reports the resource of each object that changes.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt as _};
use tokio::sync::mpsc;

use super::absence::Absence;
use super::child::{ChildSeen, child_seen};
use super::object::SeenObject;
use super::seen::Seen;
use super::table::Key;
use crate::kinds::Kind;
use crate::labels::{MANAGED_BY, MANAGER, VAULT};
use crate::resource::BackupKeyVault;

/// Pause after a failed watch.
const RETRY: Duration = Duration::from_secs(1);
/// Objects in one page of a list. All objects of hundreds of fleets at once would be megabytes, and the allocator never returns its peak.
const PAGE: u32 = 50;

/// Receives the resource whose object has changed.
pub(crate) type Changed = mpsc::UnboundedSender<ObjectRef<BackupKeyVault>>;

/// Watches one kind in one namespace (empty: all) for ever. `look_again`: pause between two tries of a kind that the cluster does not know.
pub(crate) async fn watch(
    seen: Seen,
    client: Client,
    kind: Kind,
    namespace: String,
    look_again: Duration,
    changed: Changed,
) {
    let config = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}")).page_size(PAGE);
    let resource = kind.resource();
    if kind.child() {
        let api: Api<DynamicObject> = if namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &namespace, &resource)
        };
        let state = move |o: DynamicObject| child_seen(kind, o);
        let events = || watcher::watcher(api.clone(), config.clone());
        follow(seen, kind, namespace, (look_again, changed), events, state).await;
    } else {
        let api: Api<PartialObjectMeta<DynamicObject>> = if namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &namespace, &resource)
        };
        let events = || watcher::watcher(api.clone(), config.clone());
        follow(seen, kind, namespace, (look_again, changed), events, |_| None).await;
    }
}

async fn follow<K: Resource, S: Stream<Item = watcher::Result<Event<K>>> + Send>(
    seen: Seen,
    kind: Kind,
    namespace: String,
    (look_again, changed): (Duration, Changed),
    begin: impl Fn() -> S,
    state: impl Fn(K) -> Option<ChildSeen>,
) {
    let mut events = begin().boxed();
    let (mut names, mut failing, mut listed) = (HashSet::new(), false, false);
    let report = |key: &Key| {
        let _ = changed.send(ObjectRef::new(&key.vault).within(&key.namespace));
    };
    let take = |object: K| {
        let key = key(kind, &object)?;
        let metadata = SeenObject::of(object.meta());
        seen.take(&key, metadata, state(object)).then_some(key)
    };
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => names.clear(),
            Ok(Some(Event::InitApply(o))) => {
                names.insert((o.namespace().unwrap_or_default(), o.name_any()));
                // Everything in the first list is new, and the start begins a pass for every resource anyway.
                if let Some(news) = take(o).filter(|_| listed) {
                    report(&news);
                }
            }
            Ok(Some(Event::InitDone)) => {
                seen.end_of_list(kind, &namespace, &names);
                (failing, listed) = (false, true);
            }
            Ok(Some(Event::Apply(o))) => {
                if let Some(news) = take(o) {
                    report(&news);
                }
            }
            Ok(Some(Event::Delete(o))) => {
                if let Some(key) = key(kind, &o) {
                    seen.remove(&key);
                    report(&key);
                }
            }
            Ok(None) => return,
            Err(e) => {
                let absence = Absence::of(&e);
                let left_out = absence.is_some() && kind.optional();
                // Logged once per streak. A kind that the cluster does not know is no fault.
                match (failing, left_out) {
                    (true, _) => {}
                    (false, false) => {
                        tracing::warn!(kind = kind.name(), error = %e, "can't watch; tried again");
                    }
                    (false, true) => {
                        tracing::info!(kind = kind.name(), "not known here, or not allowed: left out");
                    }
                }
                failing = true;
                seen.failed(kind, &namespace, absence, e.to_string());
                tokio::time::sleep(if left_out { look_again } else { RETRY }).await;
                // Always begin with a list. A resumed watch reports nothing until something changes, so a quiet cluster would look broken, and a kind
                // that was installed again would never be listed.
                events = begin().boxed();
            }
        }
    }
}

fn key<K: Resource>(kind: Kind, object: &K) -> Option<Key> {
    Some(Key {
        namespace: object.namespace()?,
        vault: object.labels().get(VAULT)?.clone(),
        kind,
        name: object.name_any(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use serde_json::json;

    use super::*;

    type Pod = PartialObjectMeta<DynamicObject>;

    fn pod(name: &str) -> Pod {
        let labels = json!({ VAULT: "demo" });
        serde_json::from_value(json!({ "metadata": { "name": name, "namespace": "n", "labels": labels } }))
            .unwrap()
    }

    /// A connection breaks in a quiet cluster. The watch must count as healthy again although no event follows.
    #[tokio::test]
    async fn a_watch_that_broke_is_well_again_without_any_event() {
        let (seen, tries) = (Seen::default(), AtomicUsize::new(0));
        let begin = || {
            let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
            let last = if first { Some(Err(watcher::Error::NoResourceVersion)) } else { None };
            let mut list = vec![Ok(Event::Init), Ok(Event::InitApply(pod("a")))];
            // This pod was created while the watch was broken.
            list.extend((!first).then(|| Ok(Event::InitApply(pod("b")))));
            list.push(Ok(Event::InitDone));
            stream::iter(list.into_iter().chain(last)).chain(stream::pending())
        };
        let (changed, mut changes) = mpsc::unbounded_channel();
        let kind = Kind::Pod;
        let watch = follow(seen.clone(), kind, String::new(), (RETRY, changed), begin, |_: Pod| None);
        let reported = async {
            let change = changes.recv().await.unwrap();
            // The first list reports nothing, the second one only what is new.
            assert_eq!((change.name.as_str(), tries.load(Ordering::Relaxed)), ("demo", 2));
            while seen.children("n", "demo").is_err() {
                tokio::task::yield_now().await;
            }
            assert_eq!(seen.of("n", "demo").len(), 2);
        };
        let late = tokio::time::timeout(Duration::from_secs(20), reported);
        tokio::select! {
            () = watch => panic!("it watches for ever"),
            done = late => done.unwrap(),
        }
    }
}
