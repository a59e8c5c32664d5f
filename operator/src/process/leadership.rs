//! Waits for the lease, and runs the controllers while this replica holds it.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::Api;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failure::{GRACE, RunError};
use super::lease::Election;
use super::namespaces;
use crate::metrics::Metrics;
use crate::plan::Embedded;
use crate::settings::RunArgs;

pub(super) async fn lead(
    args: &RunArgs,
    client: Client,
    metrics: Metrics,
    embedded: Embedded,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let identity = args.identity.clone().unwrap_or_else(own_name);
    let leases = Api::<Lease>::namespaced(client.clone(), &args.lease_namespace);
    let election = Election::new(leases, &args.lease_name, &identity);
    if stop.run_until_cancelled(election.acquire()).await.is_none() {
        return Ok(());
    }
    tracing::info!(identity, "this replica writes from now on");
    metrics.leader.set(1);
    let tasks = TaskTracker::new();
    let work = namespaces::run(args, client, metrics.clone(), embedded, &tasks, stop.clone());
    let done = tokio::select! {
        lost = election.keep() => Err(lost.into()),
        ended = in_time(work, &stop) => ended,
    };
    metrics.leader.set(0);
    stop.cancel();
    // Without the lease no pass may finish: another replica may write by now, and a request that hangs could still reach the server. The process ends at once.
    if done.is_ok() {
        tasks.close();
        let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
        // Released only now, when this replica writes no more.
        election.release().await;
    }
    done
}

/// After `stop`, running passes have [`GRACE`]: one may hang in a request that is never answered.
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

fn own_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}
