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

use super::absence::Absence;
use super::object::SeenObject;
use super::seen::{Key, Seen};
use crate::kinds::Kind;
use crate::labels::{MANAGED_BY, MANAGER, VAULT};
use crate::observe::{ChildSeen, child_seen};
use crate::resource::BackupKeyVault;

/// After a watch has failed.
const RETRY: Duration = Duration::from_secs(1);
/// Objects in one answer to the first list: of hundreds of fleets all at once would be megabytes, of which the allocator keeps what it had to have once.
const PAGE: u32 = 50;

/// Whom to tell.
pub type Changed = mpsc::UnboundedSender<ObjectRef<BackupKeyVault>>;

/// Watches one kind in one namespace (empty: all) for ever. `look_again`: between two looks whether a kind has come that the cluster did not know.
pub async fn watch(
    seen: Seen,
    client: Client,
    kind: Kind,
    namespace: String,
    look_again: Duration,
    changed: Changed,
) {
    let config = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}")).page_size(PAGE);
    let resource = kind.resource();
    if kind.child {
        let api: Api<DynamicObject> = if namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &namespace, &resource)
        };
        let state = move |o: DynamicObject| child_seen(kind.kind, o);
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
    let mut events = begin().default_backoff().boxed();
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
                seen.silent(kind, &namespace, Some(e.to_string()));
                seen.failed(kind, &namespace, absence);
                // The watcher's own pause begins anew with each Init.
                if absence.is_none() {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                tokio::time::sleep(look_again).await;
                // From a list on: where it stood, a kind that has come again would be watched and never listed.
                events = begin().default_backoff().boxed();
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
