//! Starts the operator and runs it until a shutdown: health port, API server, then leadership. If a task ends that must run on, the process ends and
//! Kubernetes restarts it. Otherwise an operator that no longer works would keep the lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::{Client, Config};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::client;
use super::failure::RunError;
use super::health::{self, Health};
use super::leadership::lead;
use crate::metrics::Metrics;
use crate::plan::Embedded;
use crate::settings::RunArgs;

/// Deadline of a request to the API server at the start.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two such requests.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs until `stop`.
pub async fn run(args: RunArgs, stop: CancellationToken) -> Result<(), RunError> {
    let metrics = Metrics::new()?;
    let mut embedded = Embedded::parse(
        include_str!("../../../monitoring/rules.yaml"),
        include_str!("../../../monitoring/dashboard.json"),
    )?;
    if let Some(base) = &args.runbook_base {
        embedded.link_runbooks(base);
    }
    let config = Config::infer().await.map_err(|e| RunError::Client(e.into()))?;
    let client = client(config, metrics.writes.clone()).map_err(|e| RunError::Client(e.into()))?;
    let ready = Arc::new(AtomicBool::new(false));
    let (closing, ports) = (CancellationToken::new(), TaskTracker::new());
    let health = Health { metrics: metrics.clone(), ready: ready.clone() };
    let bound = health::serve(args.health, health, closing.clone(), &ports);
    bound.map_err(|e| RunError::Health(args.health, e))?;
    let done = match stop.run_until_cancelled(answered(&client, &ready)).await {
        Some(()) => lead(&args, client, metrics, embedded, stop).await,
        None => Ok(()),
    };
    // The health port closes last: a probe that fails while passes end would look like a fault.
    closing.cancel();
    ports.close();
    ports.wait().await;
    done
}

/// Waits until the API server answers.
async fn answered(client: &Client, ready: &AtomicBool) {
    loop {
        match timeout(ANSWER, client.apiserver_version()).await {
            Ok(Ok(v)) => {
                let operator = env!("CARGO_PKG_VERSION");
                tracing::info!(server = v.git_version, operator, "the API server answers");
                ready.store(true, Ordering::Relaxed);
                return;
            }
            Ok(Err(e)) => tracing::warn!(error = %e, "the API server does not answer; tried again"),
            Err(_) => tracing::warn!("the API server takes too long to answer; tried again"),
        }
        sleep(PAUSE).await;
    }
}
