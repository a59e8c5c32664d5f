//! The link to one region's vault. It reconnects with back-off, and renews its connection before the connection is an hour old, or when ChatD's certificate changes.
//! Otherwise an attacker who stole ChatD's key could keep a connection after the certificate has expired or its authority was withdrawn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bkv_core::id::Route;
use bkv_mtls::Identity;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use parking_lot::Mutex;
use rand::Rng as _;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connection;
use crate::routing::Routing;
use crate::underway::Charge;

const CONNECT: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// Pause between failed connections. With jitter, so that not all ChatDs connect to a restarted vault at the same moment.
const BACK_OFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(LONGEST_PAUSE)
    .with_factor(2.0)
    .without_max_times()
    .with_jitter();
/// Most bytes that wait in the kernel, where a ping can't overtake them.
const IN_KERNEL: usize = 128 << 10;
/// Most frames that one stream has not read.
const IN: usize = 64;
/// The same for a feed, which bursts while ChatD writes to the database. It is more than the credit that the vault gets.
const FEED: usize = 512;
/// A connection is renewed at an age between half of this and the whole. The vault closes it soon after.
const LIFE: Duration = Duration::from_hours(1);

/// A link to one region's vault.
#[derive(Debug)]
pub struct Link {
    region: String,
    next: AtomicU64,
    /// The connection for new streams. None until a vault has sent its Hello.
    current: Mutex<Option<Arc<Connection>>>,
}

/// One stream on a link. Dropping it closes the stream.
#[derive(Debug)]
pub struct VaultStream {
    link: Arc<Link>,
    connection: Arc<Connection>,
    /// The account that the stream is for. None for a stream of ChatD itself.
    account: Option<Route>,
    number: u64,
    incoming: mpsc::Receiver<Body>,
    /// A frame that `event_here` has read and left for `next`.
    kept: Option<Body>,
}

impl VaultStream {
    /// Sends a frame. False if the link is lost or the vault does not read.
    pub fn send(&self, body: Body) -> bool {
        self.send_charged(body, None)
    }

    /// Sends a frame that counts for its account until it is written.
    pub fn send_charged(&self, body: Body, charge: Option<Charge>) -> bool {
        self.connection.send(self.account, o::Frame { stream: self.number, body: Some(body) }, charge)
    }

    /// The next frame. None once the link is lost.
    pub async fn next(&mut self) -> Option<Body> {
        if let Some(body) = self.kept.take() {
            return Some(body);
        }
        self.incoming.recv().await
    }

    /// The next frame if it has arrived and is an event. Leaves any other frame for `next`.
    pub fn event_here(&mut self) -> Option<o::Event> {
        if self.kept.is_none() {
            self.kept = self.incoming.try_recv().ok();
        }
        match self.kept.take() {
            Some(Body::Event(event)) => Some(event),
            other => {
                self.kept = other;
                None
            }
        }
    }

    /// True if no frame has arrived.
    pub fn is_quiet(&self) -> bool {
        self.kept.is_none() && self.incoming.is_empty()
    }

    /// The region of the vault.
    pub fn region(&self) -> &str {
        &self.link.region
    }
}

impl Drop for VaultStream {
    fn drop(&mut self) {
        if self.connection.remove(self.number) {
            self.send(Body::Close(o::Close {}));
        }
    }
}

/// What a link needs to connect.
pub(super) struct Dialer {
    pub(super) address: String,
    pub(super) tls: TlsConnector,
    pub(super) identity: Arc<Identity>,
    pub(super) routing: Arc<Mutex<Routing>>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Link {
    pub(super) fn start(region: &str, dialer: Dialer) -> Arc<Self> {
        let link =
            Arc::new(Self { region: region.to_owned(), next: AtomicU64::new(1), current: Mutex::default() });
        let (worker, stop, tasks) = (link.clone(), dialer.stop.clone(), dialer.tasks.clone());
        tasks.spawn(stop.run_until_cancelled_owned(async move { worker.run(&dialer).await }));
        link
    }

    /// The region of the vault.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// True if the link is connected and the vault has sent its Hello.
    pub fn is_up(&self) -> bool {
        self.current.lock().is_some()
    }

    /// Opens a stream with its first frame. None if the link is down.
    pub fn open(self: &Arc<Self>, first: Body) -> Option<VaultStream> {
        let connection = self.current.lock().clone()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let account = match &first {
            Body::Open(open) => Route::try_from(&open.route[..]).ok(),
            _ => None,
        };
        let (tx, incoming) = mpsc::channel(if matches!(first, Body::Subscribe(_)) { FEED } else { IN });
        connection.insert(number, tx);
        let stream = VaultStream { link: self.clone(), connection, account, number, incoming, kept: None };
        stream.send(first).then_some(stream)
    }

    async fn run(self: &Arc<Self>, dialer: &Dialer) {
        let mut pauses = BACK_OFF.build();
        loop {
            let mut changes = dialer.identity.changes();
            match timeout(CONNECT, dial(&dialer.address, &dialer.tls)).await {
                Ok(Ok(stream)) => {
                    let connection = Arc::new(Connection::default());
                    let mut served = self.serve(stream, connection.clone(), dialer);
                    let old = LIFE.mul_f64(rand::thread_rng().gen_range(0.5..1.0));
                    tokio::select! {
                        _ = &mut served => {}
                        // Streams stay on the old connection while the next one is made beside it, so no client notices.
                        () = sleep(old) => connection.retire(),
                        () = changes.next() => connection.retire(),
                    }
                    // Reset the back-off only after a Hello. In TLS 1.3 a client learns only after the handshake that the vault refuses its certificate. It
                    // would reconnect without a pause.
                    if connection.was_greeted() {
                        pauses = BACK_OFF.build();
                    }
                    if connection.is_retired() && connection.was_greeted() {
                        continue;
                    }
                }
                Ok(Err(e)) => tracing::debug!(region = self.region, error = %e, "no link to vault"),
                Err(_) => tracing::debug!(region = self.region, "no link to vault in time"),
            }
            sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    /// Serves a connection in a task of its own.
    fn serve(
        self: &Arc<Self>,
        stream: TlsStream<TcpStream>,
        connection: Arc<Connection>,
        dialer: &Dialer,
    ) -> tokio::task::JoinHandle<Option<()>> {
        let (link, routing, stop) = (self.clone(), dialer.routing.clone(), dialer.stop.clone());
        dialer.tasks.spawn(stop.run_until_cancelled_owned(async move {
            let greeted = |hello: &o::Hello| {
                routing.lock().hello(&link.region, hello);
                if !connection.is_retired() {
                    let before = link.current.lock().replace(connection.clone());
                    // Each Hello comes here, also a later one of the same connection.
                    if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, &connection)) {
                        before.replace();
                    }
                }
            };
            let why = connection.serve(stream, greeted, &link.region).await;
            tracing::info!(region = link.region, why, "connection to vault ended");
            let was_current = {
                let mut current = link.current.lock();
                let own = current.as_ref().is_some_and(|c| Arc::ptr_eq(c, &connection));
                if own {
                    *current = None;
                }
                own
            };
            if was_current {
                routing.lock().lost(&link.region);
            }
            connection.end();
        }))
    }
}

async fn dial(address: &str, tls: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = bkv_net::dial(address).await?;
    set_socket_send_buffer_size(&stream, IN_KERNEL)?;
    // The verifier ignores this name. It checks role and region in the certificate.
    let name = ServerName::try_from("vault").map_err(io::Error::other)?;
    tls.connect(name, stream).await
}
