//! The accept loop. It ends when its token is cancelled, and so does each connection that it accepted.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after a failed accept. The usual cause is a lack of file descriptors, and without a pause the loop would spin.
const PAUSE: Duration = Duration::from_millis(20);

/// Yields connections.
pub trait Listen: Send + 'static {
    /// A connection and what the listener knows about it.
    type Accepted: Send;

    /// The next connection.
    fn next(&mut self) -> impl Future<Output = io::Result<Self::Accepted>> + Send;
}

impl Listen for TcpListener {
    type Accepted = (TcpStream, SocketAddr);

    async fn next(&mut self) -> io::Result<Self::Accepted> {
        let (stream, peer) = self.accept().await?;
        // A port for both families shows IPv4 clients as ::ffff:a.b.c.d, which is in no network of trusted proxies.
        Ok((stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())))
    }
}

/// A listener that accepts the next connection only while fewer than a maximum are open. The permit must live as long as its connection.
#[derive(Debug)]
pub struct AtMost<L> {
    listener: L,
    room: Arc<Semaphore>,
}

impl<L> AtMost<L> {
    /// Allows at most `connections` at once.
    pub fn new(listener: L, connections: usize) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(connections)) }
    }
}

impl<L: Listen> Listen for AtMost<L> {
    type Accepted = (L::Accepted, OwnedSemaphorePermit);

    async fn next(&mut self) -> io::Result<Self::Accepted> {
        let permit = self.room.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok((self.listener.next().await?, permit))
    }
}

/// Accepts connections until `stop`. Each runs in a task of `connections` and is dropped at `stop`. `serve` returns None to refuse a connection.
pub async fn accept<L, S>(
    mut listener: L,
    stop: CancellationToken,
    connections: TaskTracker,
    mut serve: impl FnMut(L::Accepted) -> Option<S> + Send,
) where
    L: Listen,
    S: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.next() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                if let Some(serve) = serve(accepted) {
                    connections.spawn(stop.clone().run_until_cancelled_owned(serve));
                }
            }
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                sleep(PAUSE).await;
            }
        }
    }
}

/// The server's side of a TLS handshake, with a deadline. Otherwise an attacker could hold connections by never finishing the handshake.
pub async fn handshake<S>(acceptor: &TlsAcceptor, stream: S, within: Duration) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(within, acceptor.accept(stream)).await?
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn the_loop_and_every_connection_end_at_the_token() {
        let (listener, address) = listener().await;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let held = |(stream, _): (TcpStream, SocketAddr)| {
            Some(async move {
                let _open = stream;
                std::future::pending::<()>().await;
            })
        };
        tasks.spawn(accept(listener, stop.clone(), tasks.clone(), held));
        let mut client = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn a_full_listener_accepts_the_next_once_one_has_ended() {
        let (listener, address) = listener().await;
        let mut listener = AtMost::new(listener, 1);
        let _clients =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let first = listener.next().await.unwrap();
        assert!(timeout(Duration::from_millis(50), listener.next()).await.is_err());
        drop(first);
        drop(listener.next().await.unwrap());
    }
}
