//! Watches one kind, and says which resource to look at when an object of it changes.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt as _};
use tokio::sync::mpsc;

use super::object::SeenObject;
use super::seen::{Key, Seen};
use crate::kinds::Kind;
use crate::labels::{MANAGED_BY, MANAGER, VAULT};
use crate::observe::{ChildSeen, child_seen};
use crate::resource::BackupKeyVault;

/// After a watch has failed.
const RETRY: Duration = Duration::from_secs(1);
/// Whether a kind has come that the cluster did not know.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// Objects in one answer to the first list: of hundreds of fleets all at once would be megabytes, of which the allocator keeps what it had to have once.
const PAGE: u32 = 50;

/// Whom to tell.
pub type Changed = mpsc::UnboundedSender<ObjectRef<BackupKeyVault>>;

/// Watches one kind in one namespace (empty: all) for ever.
pub async fn watch(seen: Seen, client: Client, kind: Kind, namespace: String, changed: Changed) {
    let config = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}")).page_size(PAGE);
    let resource = kind.resource();
    if kind.child {
        let api: Api<DynamicObject> = if namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &namespace, &resource)
        };
        let state = move |o: DynamicObject| child_seen(kind.kind, o);
        follow(seen, kind, namespace, changed, watcher::watcher(api, config), state).await;
    } else {
        let api: Api<PartialObjectMeta<DynamicObject>> = if namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &namespace, &resource)
        };
        follow(seen, kind, namespace, changed, watcher::watcher(api, config), |_| None).await;
    }
}

async fn follow<K: Resource>(
    seen: Seen,
    kind: Kind,
    namespace: String,
    changed: Changed,
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    state: impl Fn(K) -> Option<ChildSeen>,
) {
    let mut events = events.default_backoff().boxed();
    let (mut names, mut failing) = (HashSet::new(), false);
    let tell = |key: &Key| {
        let _ = changed.send(ObjectRef::new(&key.vault).within(&key.namespace));
    };
    let take = |object: K| {
        let key = key(kind, &object)?;
        let metadata = SeenObject::of(object.meta());
        seen.take(&key, metadata, state(object)).then_some(key)
    };
    loop {
        match events.try_next().await {
            Ok(Some(event)) => {
                // Each try begins with an Init, also one that then fails.
                if failing && !matches!(event, Event::Init) {
                    failing = false;
                    seen.silent(kind, &namespace, None);
                }
                match event {
                    Event::Init => names.clear(),
                    Event::InitApply(o) => {
                        names.insert((o.namespace().unwrap_or_default(), o.name_any()));
                        take(o);
                    }
                    Event::InitDone => seen.end_of_list(kind, &namespace, &names),
                    Event::Apply(o) => {
                        if let Some(news) = take(o) {
                            tell(&news);
                        }
                    }
                    Event::Delete(o) => {
                        if let Some(key) = key(kind, &o) {
                            seen.remove(&key);
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
                seen.silent(kind, &namespace, Some(e.to_string()));
                // The watcher's own pause begins anew with each Init.
                tokio::time::sleep(if kind.always { RETRY } else { LOOK_AGAIN }).await;
            }
        }
    }
}

fn key<K: Resource>(kind: Kind, object: &K) -> Option<Key> {
    Some(Key {
        namespace: object.namespace()?,
        vault: object.labels().get(VAULT)?.clone(),
        kind: kind.kind,
        name: object.name_any(),
    })
}
