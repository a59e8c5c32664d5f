//! `/livez`, `/readyz`, `/metrics`: every replica serves them, whoever writes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// What the doors say.
#[derive(Clone)]
pub(super) struct Health {
    pub metrics: Metrics,
    /// Set once the API server has answered: a replica that only waits for the lease is ready too.
    pub ready: Arc<AtomicBool>,
}

/// Serves until stopped.
pub(super) async fn serve(
    address: SocketAddr,
    health: Health,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(|State(h): State<Health>| async move { h.metrics.text() }))
        .with_state(health);
    let listener = TcpListener::bind(address).await?;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            a = listener.accept() => a,
        };
        // Out of descriptors, most likely: a pause, or this would spin.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (app, stop) = (app.clone(), stop.clone());
        tokio::spawn(async move {
            let service = hyper_util::service::TowerToHyperService::new(app);
            let io = hyper_util::rt::TokioIo::new(stream);
            let serve = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::select! {
                () = stop.cancelled() => {}
                _ = serve => {}
            }
        });
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server has not answered yet")
    }
}
