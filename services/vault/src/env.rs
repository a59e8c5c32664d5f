//! The outside world as traits: clock, randomness, network, and an observer. redb's `StorageBackend` covers the disk and openraft's `AsyncRuntime`
//! the runtime. The real implementations are in this file. A simulation brings its own and drives the same code.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_core::id::Slot;
use bkv_core::statement::Attempt;
use bkv_wire::proto::inner::request::Operation;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

pub use crate::raft::runtime::Runtime;

/// Wall time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Unpredictable bytes.
pub trait Random: Send + Sync + 'static {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

impl dyn Random {
    /// N unpredictable bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, buffer: &mut [u8]) {
        use rand::RngCore as _;
        rand::rngs::OsRng.fill_bytes(buffer);
    }
}

/// Observes what a vault does with requests and shares, at the moment when it does it. A simulation checks then what the disks hold. In service a
/// vault has [`NoObserver`].
pub trait Observer: Send + Sync + 'static {
    /// A request was decrypted and is about to be carried out.
    fn decrypted(&self, _operation: &Operation) {}
    /// This region is about to evaluate an attempt with its share.
    fn evaluating(&self, _slot: Slot, _attempt: &Attempt) {}
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// A byte stream to a peer.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
/// A byte stream, owned.
pub type BoxStream = Box<dyn Stream>;
/// The result of the network's calls.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = std::io::Result<T>> + Send + 'a>>;

/// Connections to peers.
pub trait Network: Send + Sync + 'static {
    /// Connects to `host:port`.
    fn connect<'a>(&'a self, address: &'a str) -> Pending<'a, BoxStream>;
    /// Listens on an address.
    fn listen(&self, address: SocketAddr) -> Pending<'_, Box<dyn Listener>>;
}

/// Accepts connections.
pub trait Listener: Send + Sync {
    /// Accepts the next connection.
    fn accept(&self) -> Pending<'_, BoxStream>;
    /// The bound address.
    fn address(&self) -> std::io::Result<SocketAddr>;
}

impl bkv_net::accept::Listen for Box<dyn Listener> {
    type Accepted = BoxStream;

    async fn next(&mut self) -> std::io::Result<BoxStream> {
        self.accept().await
    }
}

/// A machine that disappears resets no connection. Without this limit a connection to it would hang until the kernel gives up after a quarter of an
/// hour, and its successor under the same name would not be dialled. An idle connection is probed after the same time.
const GONE: Duration = Duration::from_secs(5);

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(GONE.as_millis()).unwrap_or(5_000))?;
    sockopt::set_tcp_keepidle(stream, GONE)?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(1))?;
    sockopt::set_tcp_keepcnt(stream, 5)?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

/// TCP without Nagle's delay. Names are resolved at each connection, because a restarted peer may have another address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> Pending<'a, BoxStream> {
        Box::pin(async move {
            let stream = bkv_net::dial(address).await?;
            prepare(&stream)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    fn listen(&self, address: SocketAddr) -> Pending<'_, Box<dyn Listener>> {
        Box::pin(async move { Ok(Box::new(bkv_net::bind(address)?) as Box<dyn Listener>) })
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> Pending<'_, BoxStream> {
        Box::pin(async move {
            let (stream, _) = TcpListener::accept(self).await?;
            prepare(&stream)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    fn address(&self) -> std::io::Result<SocketAddr> {
        self.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends must notice that the other machine is gone.
    #[tokio::test]
    async fn connections_give_up_on_a_machine_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        for stream in [near.unwrap(), far.unwrap().0] {
            prepare(&stream).unwrap();
            assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 5_000);
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), GONE);
            assert!(stream.nodelay().unwrap());
        }
    }

    /// Names are resolved at each connection. A name without an address fails only that connection.
    #[tokio::test]
    async fn names_are_resolved_and_unknown_ones_are_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(Tcp.connect(&format!("localhost:{port}")).await.is_ok());
        assert!(Tcp.connect("nowhere.invalid:1").await.is_err());
    }
}
