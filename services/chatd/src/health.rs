//! The health port, without TLS: `/livez`, `/readyz`, `/metrics`. Every pod of the cluster can reach it, so no request may make a vault work.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use bkv_net::{Tasks, http};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// Listens on the health port until `stop`: `/livez`, `/readyz`, `/metrics`.
pub fn listen(
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: &Tasks,
) -> std::io::Result<SocketAddr> {
    let ready = |State(s): State<Arc<Shared>>| async move {
        // Stay ready without Postgres: only the key metadata is stale.
        let good = s.vaults.up() > 0 && !s.drain.is_cancelled();
        let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, Json(json!({ "ready": good, "vaults": s.vaults.up() })))
    };
    let metrics = |State(s): State<Arc<Shared>>| async move {
        let (role, web) = &s.certificates;
        s.metrics.expiry(role.expiry(), web.expiry());
        if let Some(number) = s.bundles.number() {
            s.metrics.bundle(number);
        }
        s.metrics.lag.set(i64::try_from(s.metadata.lag().as_secs()).unwrap_or(i64::MAX));
        s.metrics.jwks.set(i64::try_from(s.tokens.keys().refreshed()).unwrap_or(0));
        s.metrics.text()
    };
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared);
    http::plain(address, app, stop, &tasks.group("health port"))
}
