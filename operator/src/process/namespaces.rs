//! The watches of the operator's objects, and one controller for each watched namespace.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, controller};
use strum::VariantArray as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failure::RunError;
use super::resources::resources;
use crate::api_server::{Seen, watch};
use crate::context::Context;
use crate::kinds::Kind;
use crate::metrics::Metrics;
use crate::pass::{AT_ONCE, Memories, Operator, failed, reconcile};
use crate::plan::{Embedded, Settings};
use crate::resource::BackupKeyVault;
use crate::settings::RunArgs;

/// Changes of a resource within this time start one pass.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Deadline of the first list of every kind.
const FIRST_LOOK: Duration = Duration::from_mins(1);

type Changes = mpsc::UnboundedReceiver<ObjectRef<BackupKeyVault>>;

/// Runs until `stop`. Every task is spawned in `tasks`.
pub(super) async fn run(
    args: &RunArgs,
    client: Client,
    metrics: Metrics,
    embedded: Embedded,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let namespaces = if args.namespaces.is_empty() { vec![String::new()] } else { args.namespaces.clone() };
    let seen = Seen::default();
    let changes = watches(args, &client, &namespaces, &seen, tasks, &stop);
    if tokio::time::timeout(FIRST_LOOK, seen.ready(&namespaces)).await.is_err() {
        tracing::error!("can't list every kind of object: give the operator the roles of its chart");
        return Err(RunError::Ended("first look"));
    }
    let reporter = Reporter { controller: "bkv.dev/operator".into(), instance: args.identity.clone() };
    let events = Recorder::new(client.clone(), reporter);
    let resync = Duration::from_secs(args.resync);
    let context = Context::new(client.clone(), seen, (settings(args), embedded), metrics, events, resync);
    let operator = Arc::new(Operator { context, memories: Memories::default() });
    let (mut senders, mut controllers) = (Vec::new(), Vec::new());
    for namespace in namespaces {
        let (sender, receiver) = mpsc::unbounded_channel();
        let controller = controller(&operator, &client, &namespace, receiver, tasks, &stop);
        controllers.push(tasks.spawn(controller));
        senders.push((namespace, sender));
    }
    tasks.spawn(stop.clone().run_until_cancelled_owned(distribute(changes, senders)));
    for controller in controllers {
        let _ = controller.await;
    }
    if stop.is_cancelled() { Ok(()) } else { Err(RunError::Ended("controller")) }
}

/// Starts a watch for each kind and namespace. Returns the resources whose objects change.
fn watches(
    args: &RunArgs,
    client: &Client,
    namespaces: &[String],
    seen: &Seen,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Changes {
    let (changed, changes) = mpsc::unbounded_channel();
    // Pause between two tries of a kind that the cluster does not know.
    let again = Duration::from_secs(args.resync.saturating_mul(2)).min(Duration::from_mins(1));
    for namespace in namespaces {
        for kind in Kind::VARIANTS.iter().copied() {
            let watch = watch(seen.clone(), client.clone(), kind, namespace.clone(), again, changed.clone());
            tasks.spawn(stop.clone().run_until_cancelled_owned(watch));
        }
    }
    changes
}

fn settings(args: &RunArgs) -> Settings {
    Settings {
        vault_image: args.vault_image.clone(),
        chatd_image: args.chatd_image.clone(),
        postgres_image: args.postgres_image.clone(),
        copier_image: args.copier_image.clone(),
        pull_policy: args.pull_policy,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        operator_namespace: args.lease_namespace.clone(),
    }
}

/// The controller of one namespace (empty: of all).
fn controller(
    operator: &Arc<Operator>,
    client: &Client,
    namespace: &str,
    changes: Changes,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let changes =
        futures_util::stream::unfold(changes, |mut r| async move { r.recv().await.map(|x| (x, r)) });
    let (store, resources) = resources(client.clone(), namespace, tasks.clone());
    let config = controller::Config::default().concurrency(AT_ONCE).debounce(DEBOUNCE);
    let gone = operator.clone();
    Controller::for_stream(resources, store)
        .with_config(config)
        .reconcile_on(changes)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, failed, operator.clone())
        .for_each(move |done| {
            // A deleted resource is noticed only when it is no longer found.
            if let Err(controller::Error::ObjectNotFound(what)) = done {
                gone.forget(what.namespace.as_deref().unwrap_or_default(), &what.name);
            }
            std::future::ready(())
        })
}

/// Sends each change to the controller of its namespace.
async fn distribute(
    mut changes: Changes,
    controllers: Vec<(String, mpsc::UnboundedSender<ObjectRef<BackupKeyVault>>)>,
) {
    while let Some(change) = changes.recv().await {
        let place = change.namespace.clone().unwrap_or_default();
        for (_, sender) in controllers.iter().filter(|(n, _)| n.is_empty() || *n == place) {
            let _ = sender.send(change.clone());
        }
    }
}
