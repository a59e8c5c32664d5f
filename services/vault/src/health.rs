//! `/livez`, `/readyz` and `/metrics`, in the clear: they say nothing about anybody.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::replica::Phase;
use crate::service::Vault;

/// Serves until stopped.
pub async fn listen(
    vault: Arc<Vault>,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(vault);
    tasks.spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(e) = served {
            tracing::error!(error = %e, "the health port failed");
        }
    });
    Ok(bound)
}

async fn readyz(State(vault): State<Arc<Vault>>) -> (StatusCode, &'static str) {
    if crate::admin::ready(&vault) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(vault): State<Arc<Vault>>) -> String {
    let m = &vault.metrics;
    let (mut leader, mut follower, mut joining, mut quarantined) = (0, 0, 0, 0);
    for r in vault.node.replicas() {
        let status = r.status();
        let s = status.borrow();
        match (&s.phase, s.lead) {
            (Phase::Verified, true) => leader += 1,
            (Phase::Verified, false) => follower += 1,
            (Phase::Quarantined(_) | Phase::Halted(_), _) => quarantined += 1,
            _ => joining += 1,
        }
    }
    for (role, n) in [("leader", leader), ("follower", follower), ("joining", joining)] {
        m.shards.with_label_values(&[role]).set(n);
    }
    m.quarantined.with_label_values(&["disk"]).set(quarantined);
    let up = matches!(vault.token.health(), bkv_hsm::Health::Up);
    m.hsm_up.with_label_values(&["token"]).set(i64::from(up));
    m.text()
}
