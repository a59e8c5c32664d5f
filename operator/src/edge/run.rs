//! Brings everything up, waits for the lease, and runs until it is told to stop. If any task ends that must not, the process ends: Kubernetes starts it
//! again, and a half-dead operator would hold the lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, controller};
use kube::{Client, Config};
use strum::VariantArray as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::client;
use super::health::{self, Health};
use super::reconcile::{failed, reconcile};
use super::watched::watched;
use super::world::World;
use crate::apply::{Seen, watch};
use crate::kinds::Kind;
use crate::lease::{Election, LeaseLost};
use crate::metrics::Metrics;
use crate::plan::{Embedded, EmbeddedError, Settings};
use crate::resource::BackupKeyVault;
use crate::settings::RunArgs;

/// Passes at once.
pub(super) const AT_ONCE: u16 = 8;
/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// The first look at every object may take this long.
const FIRST_LOOK: Duration = Duration::from_mins(1);
/// At the end passes under way may take this long.
const GRACE: Duration = Duration::from_secs(10);
/// One question to the API server, while nothing else is done yet.
const ANSWER: Duration = Duration::from_secs(5);

/// The operator can't run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No configuration for the API server.
    #[error("no way to the API server")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Metrics.
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
    /// What it carries with it.
    #[error("what the operator carries with it")]
    Embedded(#[from] EmbeddedError),
    /// The health port.
    #[error("health port {0}")]
    Health(std::net::SocketAddr, #[source] std::io::Error),
    /// The lease.
    #[error(transparent)]
    Lease(#[from] LeaseLost),
    /// A task that must not end has ended.
    #[error("the task `{0}` has ended")]
    Ended(&'static str),
    /// A pass does not end.
    #[error("a pass did not end within {} s of the word to stop", GRACE.as_secs())]
    Hangs,
}

/// Runs until `stop`.
pub async fn run(args: RunArgs, stop: CancellationToken) -> Result<(), RunError> {
    let metrics = Metrics::new()?;
    let embedded = Embedded::parse(
        include_str!("../../../monitoring/rules.yaml"),
        include_str!("../../../monitoring/dashboard.json"),
    )?;
    let config = Config::infer().await.map_err(|e| RunError::Client(e.into()))?;
    let client = client(config, metrics.writes.clone()).map_err(|e| RunError::Client(e.into()))?;
    let ready = Arc::new(AtomicBool::new(false));
    let tasks = TaskTracker::new();
    // They close last: a probe that fails while passes end would look like a fault, and closing ends the others.
    let closing = CancellationToken::new();
    let health = Health { metrics: metrics.clone(), ready: ready.clone() };
    let doors = health::serve(args.health, health, closing.clone());
    let mut doors = tokio::spawn(doors);
    let identity = args.identity.clone().unwrap_or_else(own_name);
    let election = Election::new(
        Api::<Lease>::namespaced(client.clone(), &args.lease_namespace),
        &args.lease_name,
        &identity,
    );
    while !ready.load(Ordering::Relaxed) {
        let asked = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            asked = tokio::time::timeout(ANSWER, client.apiserver_version()) => asked,
        };
        match asked {
            Ok(Ok(v)) => {
                tracing::info!(
                    server = v.git_version,
                    operator = env!("CARGO_PKG_VERSION"),
                    "the API server answers"
                );
                ready.store(true, Ordering::Relaxed);
            }
            Ok(Err(e)) => tracing::warn!(error = %e, "the API server does not answer; tried again"),
            Err(_) => tracing::warn!("the API server takes too long to answer; tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            d = &mut doors => return Err(door(args.health, d)),
            () = tokio::time::sleep(Duration::from_millis(if ready.load(Ordering::Relaxed) { 0 } else { 2_000 })) => {}
        }
    }
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        d = &mut doors => return Err(door(args.health, d)),
        () = election.acquire() => {}
    }
    tracing::info!(identity, "this replica writes from now on");
    metrics.leader.set(1);
    let work = lead(&args, client, metrics.clone(), embedded, &tasks, stop.clone());
    let done = tokio::select! {
        d = &mut doors => Err(door(args.health, d)),
        lost = election.keep() => Err(lost.into()),
        ended = in_time(work, &stop) => ended,
    };
    metrics.leader.set(0);
    stop.cancel();
    // Without the lease nothing may be finished: another may have begun, and what hangs in a request could still reach the server.
    if done.is_ok() {
        tasks.close();
        let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
        // Only now: nothing of ours writes any more.
        election.release().await;
    }
    closing.cancel();
    done
}

/// Told to stop, passes under way get some time and no more: one may hang in a request that is never answered.
async fn in_time(
    work: impl Future<Output = Result<(), RunError>>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = work => ended,
        () = too_long => Err(RunError::Hangs),
    }
}

fn door(
    address: std::net::SocketAddr,
    ended: Result<std::io::Result<()>, tokio::task::JoinError>,
) -> RunError {
    match ended {
        Ok(Err(e)) => RunError::Health(address, e),
        _ => RunError::Ended("health"),
    }
}

/// The work of the one that holds the lease.
async fn lead(
    args: &RunArgs,
    client: Client,
    metrics: Metrics,
    embedded: Embedded,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let seen = Seen::default();
    let (changed, changes) = mpsc::unbounded_channel::<ObjectRef<BackupKeyVault>>();
    let namespaces = if args.namespaces.is_empty() { vec![String::new()] } else { args.namespaces.clone() };
    for namespace in &namespaces {
        for kind in Kind::VARIANTS.iter().copied() {
            // Whether a kind has come that the cluster did not know.
            let again = Duration::from_secs(args.resync.saturating_mul(2)).min(Duration::from_mins(1));
            let watch = watch(seen.clone(), client.clone(), kind, namespace.clone(), again, changed.clone());
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = watch => {}
                }
            });
        }
    }
    if tokio::time::timeout(FIRST_LOOK, seen.ready(&namespaces)).await.is_err() {
        tracing::error!("not every kind of object can be listed: has the operator the roles of its chart?");
        return Err(RunError::Ended("first look"));
    }
    let settings = Settings {
        vault_image: args.vault_image.clone(),
        chatd_image: args.chatd_image.clone(),
        postgres_image: args.postgres_image.clone(),
        copier_image: args.copier_image.clone(),
        pull_policy: args.pull_policy,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        operator_namespace: args.lease_namespace.clone(),
    };
    let reporter = Reporter { controller: "bkv.dev/operator".into(), instance: args.identity.clone() };
    let events = Recorder::new(client.clone(), reporter);
    let resync = Duration::from_secs(args.resync);
    let world = Arc::new(World::new(client.clone(), seen, (settings, embedded), metrics, events, resync));
    let mut fan = Fan { senders: Vec::new() };
    let mut controllers = Vec::new();
    for namespace in &namespaces {
        let (sender, receiver) = mpsc::unbounded_channel();
        fan.senders.push((namespace.clone(), sender));
        let stream =
            futures_util::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|x| (x, r)) });
        let stopped = stop.clone();
        let (store, resources) = watched(client.clone(), namespace);
        let gone = world.clone();
        let controller = Controller::for_stream(resources, store)
            .with_config(controller::Config::default().concurrency(AT_ONCE).debounce(DEBOUNCE))
            .reconcile_on(stream)
            .graceful_shutdown_on(async move { stopped.cancelled().await })
            .run(reconcile, failed, world.clone())
            .for_each(move |done| {
                // A resource that was deleted is only noticed by its absence.
                if let Err(controller::Error::ObjectNotFound(what)) = done {
                    gone.forget(what.namespace.as_deref().unwrap_or_default(), &what.name);
                }
                std::future::ready(())
            });
        controllers.push(tasks.spawn(controller));
    }
    tasks.spawn(fan.run(changes, stop.clone()));
    for controller in controllers {
        let _ = controller.await;
    }
    if stop.is_cancelled() { Ok(()) } else { Err(RunError::Ended("controller")) }
}

/// Sends each change to the controller of its namespace.
struct Fan {
    senders: Vec<(String, mpsc::UnboundedSender<ObjectRef<BackupKeyVault>>)>,
}

impl Fan {
    async fn run(
        self,
        mut changes: mpsc::UnboundedReceiver<ObjectRef<BackupKeyVault>>,
        stop: CancellationToken,
    ) {
        loop {
            let change = tokio::select! {
                () = stop.cancelled() => return,
                c = changes.recv() => match c { Some(c) => c, None => return },
            };
            let place = change.namespace.clone().unwrap_or_default();
            for (_, sender) in self.senders.iter().filter(|(n, _)| n.is_empty() || *n == place) {
                let _ = sender.send(change.clone());
            }
        }
    }
}

fn own_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}
