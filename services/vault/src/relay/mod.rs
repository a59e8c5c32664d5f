//! The port for ChatDs. Each ChatD's link carries many clients' sessions and the shards' event feeds. The vault does not trust what ChatD
//! reports about a client.

mod feed;
mod greeting;
mod link;
mod out;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use bkv_mtls::Identity;
use bkv_net::{Tasks, accept};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::env::Listener;
use crate::service::Vault;

const HANDSHAKE: Duration = Duration::from_secs(3);

/// Accepts ChatDs until `stop`.
pub fn serve(
    vault: Arc<Vault>,
    listener: Box<dyn Listener>,
    (tls, identity): (Arc<rustls::ServerConfig>, Arc<Identity>),
    stop: CancellationToken,
    tasks: &Tasks,
) {
    let acceptor = TlsAcceptor::from(tls);
    let children = link::Children::of(tasks);
    let serve = move |stream| {
        let (vault, acceptor, children) = (vault.clone(), acceptor.clone(), children.clone());
        let changes = identity.changes();
        Some(async move {
            let served = async {
                let stream = accept::handshake(&acceptor, stream, HANDSHAKE).await?;
                link::serve(vault, stream, children, changes).await
            };
            if let Err(error) = served.await {
                tracing::debug!(%error, "a ChatD's link ended");
            }
        })
    };
    tasks.group("relay listener").spawn(accept(listener, stop, tasks.group("ChatD links"), serve));
}
