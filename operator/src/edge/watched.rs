//! The resources as a stream. Each is read by itself: one that this release can't read (it was made under a newer definition) stops nobody else. And
//! when none can be had, that is said, once: without a word the operator would look idle.

use std::collections::HashMap;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, future};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Client, Resource as _, ResourceExt as _};

use super::unreadable;
use crate::resource::BackupKeyVault;

type Guarded = DeserializeGuard<BackupKeyVault>;
type Watched = Result<Event<BackupKeyVault>, watcher::Error>;

/// The resources of a namespace (empty: of all), and each of them whenever it changes.
pub(super) fn watched(
    client: Client,
    namespace: &str,
) -> (Store<BackupKeyVault>, BoxStream<'static, Result<BackupKeyVault, watcher::Error>>) {
    let api: Api<Guarded> = if namespace.is_empty() {
        Api::all(client.clone())
    } else {
        Api::namespaced(client.clone(), namespace)
    };
    let (reader, writer) = reflector::store();
    let mut sorter = Sorter { client, known: reader.clone(), failing: false, told: HashMap::default() };
    let events = watch(api, watcher::Config::default().any_semantic())
        .filter_map(move |event| future::ready(sorter.take(event)));
    (reader, reflector::reflector(writer, events).applied_objects().boxed())
}

struct Sorter {
    client: Client,
    known: Store<BackupKeyVault>,
    failing: bool,
    /// What was said of those that don't read, by uid: our own word about one comes back as an event.
    told: HashMap<String, (Option<i64>, String)>,
}

impl Sorter {
    fn take(&mut self, event: Result<Event<Guarded>, watcher::Error>) -> Option<Watched> {
        let event = match event {
            Ok(event) => event,
            Err(e) => {
                self.complain(&e);
                return Some(Err(e));
            }
        };
        // Each try begins with an Init, also one that then fails.
        self.failing &= matches!(event, Event::Init);
        match event {
            Event::Init => Some(Ok(Event::Init)),
            Event::InitDone => Some(Ok(Event::InitDone)),
            Event::InitApply(DeserializeGuard(Ok(o))) => Some(Ok(Event::InitApply(self.read(o)))),
            Event::Apply(DeserializeGuard(Ok(o))) => Some(Ok(Event::Apply(self.read(o)))),
            Event::Delete(DeserializeGuard(Ok(o))) => Some(Ok(Event::Delete(self.read(o)))),
            Event::InitApply(DeserializeGuard(Err(odd))) => {
                self.tell(odd);
                None
            }
            // As it was before it does not hold any more: nothing is done by an old spec.
            Event::Apply(DeserializeGuard(Err(odd))) => {
                let before = self.before(&odd);
                self.tell(odd);
                before
            }
            Event::Delete(DeserializeGuard(Err(odd))) => self.before(&odd),
        }
    }

    fn read(&mut self, mut resource: BackupKeyVault) -> BackupKeyVault {
        self.told.remove(resource.metadata.uid.as_deref().unwrap_or_default());
        // Nobody here reads them, and with hundreds of resources they are most of the memory.
        resource.managed_fields_mut().clear();
        resource
    }

    fn before(&self, odd: &InvalidObject) -> Option<Watched> {
        let name = odd.metadata.name.as_deref().unwrap_or_default();
        let place = odd.metadata.namespace.as_deref().unwrap_or_default();
        let known = self.known.get(&ObjectRef::new(name).within(place))?;
        Some(Ok(Event::Delete((*known).clone())))
    }

    fn tell(&mut self, odd: InvalidObject) {
        let uid = odd.metadata.uid.clone().unwrap_or_default();
        let what = (odd.metadata.generation, odd.error.clone());
        if self.told.get(&uid) != Some(&what) {
            self.told.insert(uid, what);
            tokio::spawn(unreadable::say(self.client.clone(), odd));
        }
    }

    fn complain(&mut self, e: &watcher::Error) {
        if std::mem::replace(&mut self.failing, true) {
            return;
        }
        let missing = matches!(e, watcher::Error::InitialListFailed(kube::Error::Api(a)) if a.code == 404);
        if missing {
            tracing::warn!(
                "the definition {}.{} is not there: apply what `bkv-operator crd` prints; waited for",
                BackupKeyVault::plural(&()),
                BackupKeyVault::group(&())
            );
        } else {
            tracing::warn!(error = %e, "can't watch the resources; tried again");
        }
    }
}
