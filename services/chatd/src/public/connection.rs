//! One connection to the public port: the address it comes from, TLS, and how much it may ask for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use bkv_net::accept::handshake;
use bkv_net::http;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::proxy_header;
use crate::shared::{AtAddress, Shared};

/// Deadline for the proxy's header, for the TLS handshake, and for the headers of each request.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Most answers on one connection.
pub(super) const ANSWERS: u32 = 100;

/// One connection. It is counted until its last user drops it. After an upgrade that is the WebSocket's task, because the HTTP server's task then ends.
#[derive(Debug)]
pub(super) struct Connection {
    /// The other end of the connection, or the client that its PROXY header names.
    pub(super) sender: IpAddr,
    /// None for a trusted proxy: its requests are counted for the clients behind it.
    at_address: Option<AtAddress>,
    answers: AtomicU32,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    /// True if the connection counts for its sender's address.
    pub(super) const fn is_counted(&self) -> bool {
        self.at_address.is_some()
    }

    /// Counts one answer. True if no other may follow.
    pub(super) fn was_last_answer(&self) -> bool {
        self.answers.fetch_add(1, Ordering::Relaxed) + 1 >= ANSWERS
    }
}

/// Accepts connections to the public port.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) shared: Arc<Shared>,
    pub(super) tls: TlsAcceptor,
    pub(super) app: Router,
    pub(super) proxy_protocol: bool,
}

impl Acceptor {
    /// The task of a new connection. None to refuse it at once, before it costs a handshake.
    pub(super) fn accept(
        &self,
        stream: TcpStream,
        peer: IpAddr,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let room = self.shared.room()?;
        let proxy = self.shared.proxies.trust(peer);
        let at_address = if proxy { None } else { Some(self.counted(peer)?) };
        let acceptor = self.clone();
        Some(async move {
            let _ = acceptor.serve(stream, peer, at_address, room).await;
        })
    }

    fn counted(&self, address: IpAddr) -> Option<AtAddress> {
        if self.shared.may_call(address) { self.shared.enter(address) } else { None }
    }

    /// None if the connection was refused.
    async fn serve(
        self,
        mut stream: TcpStream,
        peer: IpAddr,
        mut at_address: Option<AtAddress>,
        room: OwnedSemaphorePermit,
    ) -> Option<()> {
        let _ = stream.set_nodelay(true);
        let mut sender = peer;
        // Only a trusted proxy may send the header. From anybody else these bytes are a TLS handshake that fails.
        if self.proxy_protocol && at_address.is_none() {
            let header = timeout(HANDSHAKE, proxy_header::read(&mut stream)).await.ok()?;
            sender = header.ok()?.unwrap_or(peer);
            if !self.shared.proxies.trust(sender) {
                at_address = Some(self.counted(sender)?);
            }
        }
        let stream = handshake(&self.tls, stream, HANDSHAKE).await.ok()?;
        let connection = Connection { sender, at_address, answers: AtomicU32::new(0), _room: room };
        http::serve(stream, self.app.layer(Extension(Arc::new(connection))), HANDSHAKE).await;
        Some(())
    }
}
