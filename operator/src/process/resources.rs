//! The resources as a stream. Each is parsed alone: a resource of a newer definition, which this release can't read, does not stop the others. A watch that
//! fails is logged once: otherwise the operator would look idle.

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
use tokio_util::task::TaskTracker;

use crate::report::invalid_resource;
use crate::resource::BackupKeyVault;

type Guarded = DeserializeGuard<BackupKeyVault>;
type Watched = Result<Event<BackupKeyVault>, watcher::Error>;

/// The resources of a namespace (empty: of all), and each of them whenever it changes.
pub(super) fn resources(
    client: Client,
    namespace: &str,
    tasks: TaskTracker,
) -> (Store<BackupKeyVault>, BoxStream<'static, Result<BackupKeyVault, watcher::Error>>) {
    let api: Api<Guarded> = if namespace.is_empty() {
        Api::all(client.clone())
    } else {
        Api::namespaced(client.clone(), namespace)
    };
    let (reader, writer) = reflector::store();
    let mut sorter =
        Sorter { client, tasks, known: reader.clone(), failing: false, reported: HashMap::default() };
    let events = watch(api, watcher::Config::default().any_semantic())
        .filter_map(move |event| future::ready(sorter.take(event)));
    (reader, reflector::reflector(writer, events).applied_objects().boxed())
}

struct Sorter {
    client: Client,
    tasks: TaskTracker,
    known: Store<BackupKeyVault>,
    failing: bool,
    /// What was reported of unreadable resources, by uid. Our own status write comes back as an event and must not be answered again.
    reported: HashMap<String, (Option<i64>, String)>,
}

impl Sorter {
    fn take(&mut self, event: Result<Event<Guarded>, watcher::Error>) -> Option<Watched> {
        let event = match event {
            Ok(event) => event,
            Err(e) => {
                self.log(&e);
                return Some(Err(e));
            }
        };
        // Each attempt begins with an Init, even one that fails afterwards.
        self.failing &= matches!(event, Event::Init);
        match event {
            Event::Init => Some(Ok(Event::Init)),
            Event::InitDone => Some(Ok(Event::InitDone)),
            Event::InitApply(DeserializeGuard(Ok(o))) => Some(Ok(Event::InitApply(self.read(o)))),
            Event::Apply(DeserializeGuard(Ok(o))) => Some(Ok(Event::Apply(self.read(o)))),
            Event::Delete(DeserializeGuard(Ok(o))) => Some(Ok(Event::Delete(self.read(o)))),
            Event::InitApply(DeserializeGuard(Err(odd))) => {
                self.report(odd);
                None
            }
            // The earlier spec no longer holds, so the resource counts as deleted: the operator must not act on an old spec.
            Event::Apply(DeserializeGuard(Err(odd))) => {
                let before = self.before(&odd);
                self.report(odd);
                before
            }
            Event::Delete(DeserializeGuard(Err(odd))) => self.before(&odd),
        }
    }

    fn read(&mut self, mut resource: BackupKeyVault) -> BackupKeyVault {
        self.reported.remove(resource.metadata.uid.as_deref().unwrap_or_default());
        // The operator does not use managed fields, and with hundreds of resources they would be most of its memory.
        resource.managed_fields_mut().clear();
        resource
    }

    fn before(&self, odd: &InvalidObject) -> Option<Watched> {
        let name = odd.metadata.name.as_deref().unwrap_or_default();
        let place = odd.metadata.namespace.as_deref().unwrap_or_default();
        let known = self.known.get(&ObjectRef::new(name).within(place))?;
        Some(Ok(Event::Delete((*known).clone())))
    }

    fn report(&mut self, odd: InvalidObject) {
        let uid = odd.metadata.uid.clone().unwrap_or_default();
        let what = (odd.metadata.generation, odd.error.clone());
        if self.reported.get(&uid) != Some(&what) {
            self.reported.insert(uid, what);
            self.tasks.spawn(invalid_resource(self.client.clone(), odd));
        }
    }

    fn log(&mut self, e: &watcher::Error) {
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
