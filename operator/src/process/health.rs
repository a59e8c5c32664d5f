//! `/livez`, `/readyz` and `/metrics`. Every replica serves them, also without the lease.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;

#[derive(Clone)]
pub(super) struct Health {
    pub metrics: Metrics,
    /// True once the API server has answered. A replica that waits for the lease is ready too.
    pub ready: Arc<AtomicBool>,
}

/// Serves until `stop`, in `tasks`.
pub(super) fn serve(
    address: SocketAddr,
    health: Health,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(|State(h): State<Health>| async move { h.metrics.text() }))
        .with_state(health);
    bkv_net::http::plain(address, app, stop, tasks).map(drop)
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server has not answered yet")
    }
}
