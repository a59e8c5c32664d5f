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
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(50);
/// Connections at once. Everybody in the cluster may knock, and each costs memory that the operator is limited in.
const AT_ONCE: usize = 64;
/// A connection says what it wants within this, each time, or is closed.
const HEADERS: Duration = Duration::from_secs(10);

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
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return Ok(()) };
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
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEADERS);
            let serve = http.serve_connection(io, service);
            tokio::select! {
                () = stop.cancelled() => {}
                _ = serve => {}
            }
            drop(place);
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
