//! Administration: HTTPS with mutual TLS, role `admin` only. The operator makes the fleet and watches it through this port.
//!
//! No answer contains a secret. This port only carries documents: the root's signature decides. An in-fleet root signs on a request to this port, see
//! `root`.

mod connection;
mod documents;
mod fleet;
mod refusal;
mod root;
mod status;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use bkv_admin_api::paths;
use bkv_net::{Tasks, accept, http};
use bkv_wire::documents::MAX_DOCUMENT;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::env::Listener;
use crate::service::Vault;

const HANDSHAKE: Duration = Duration::from_secs(3);

/// State shared by the handlers.
#[derive(Clone)]
struct Shared {
    vault: Arc<Vault>,
    stop: CancellationToken,
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route(paths::STATUS, get(status::status))
        .route(paths::TOKEN, get(token::token))
        .route(paths::ROOT, get(root::root))
        .route(paths::ROOT_SIGN, post(root::sign))
        .route(paths::ROOT_SEALED, get(root::sealed).post(root::take))
        .route(paths::ADMISSION, get(documents::admission).post(documents::install_admission))
        .route(paths::POLICY, get(documents::policy).post(documents::install_policy))
        .route(paths::LIFT, post(documents::lift))
        .route(paths::INIT, post(fleet::init))
        .route(paths::STEP_DOWN, post(fleet::step_down))
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT))
        .layer(axum::middleware::from_fn(connection::deadline))
        .with_state(shared)
}

/// Serves until `stop`.
pub fn serve(
    vault: Arc<Vault>,
    listener: Box<dyn Listener>,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    tasks: &Tasks,
) {
    let app = router(Shared { vault, stop: stop.clone() });
    let acceptor = TlsAcceptor::from(tls);
    let serve = move |stream| {
        let (acceptor, app) = (acceptor.clone(), app.clone());
        Some(async move {
            if let Ok(stream) = accept::handshake(&acceptor, stream, HANDSHAKE).await {
                http::serve(stream, app, connection::HEADERS).await;
            }
        })
    };
    let connections = tasks.group("admin connections");
    tasks.group("admin listener").spawn(accept(listener, stop, connections, serve));
}
