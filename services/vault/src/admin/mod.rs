//! Administration: HTTPS with mutual TLS, role `admin` only. The operator makes the fleet and watches it through this port.
//!
//! No answer contains a secret. Documents are only carried here: the root's signature decides. An in-fleet root signs on request of this port, see `root`.

mod connection;
mod documents;
mod fleet;
mod refusal;
mod root;
mod status;
mod token;

pub(crate) use status::ready;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use bkv_admin_api::paths;
use bkv_wire::documents::MAX_DOCUMENT;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::env::Network;
use crate::service::Vault;

const HANDSHAKE: Duration = Duration::from_secs(3);

/// What handlers share.
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
        .route(paths::INIT, post(fleet::init))
        .route(paths::STEP_DOWN, post(fleet::step_down))
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT))
        .layer(axum::middleware::from_fn(connection::deadline))
        .with_state(shared)
}

/// Serves until stopped.
pub async fn listen(
    vault: Arc<Vault>,
    network: &dyn Network,
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> std::io::Result<SocketAddr> {
    let listener = network.listen(address).await?;
    let bound = listener.address()?;
    let app = router(Shared { vault, stop: stop.clone() });
    let spawner = tasks.clone();
    tasks.spawn(async move {
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                a = listener.accept() => a,
            };
            let Ok(stream) = accepted else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let (acceptor, app, stop) = (acceptor.clone(), app.clone(), stop.clone());
            spawner.spawn(async move {
                let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = connection::serve(stream, app) => {}
                }
            });
        }
    });
    Ok(bound)
}
