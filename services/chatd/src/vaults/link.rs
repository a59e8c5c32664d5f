//! One link to a vault, with many streams. Reconnects with back-off. Pings notice a hung vault in about a second.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bkv_net::frames;
use bkv_wire::frame::MAX_FRAME;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use futures_util::StreamExt as _;
use parking_lot::{Mutex, MutexGuard};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::routing::Routing;

const CONNECT: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// Pause between failed connections. With jitter, so that not all ChatDs connect to a restarted vault at the same moment.
const BACK_OFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(LONGEST_PAUSE)
    .with_factor(2.0)
    .without_max_times()
    .with_jitter();
/// Most frames waiting to be written to a vault.
const OUT: usize = 8_192;
/// Most frames that one stream has not read.
const IN: usize = 64;
/// The same for a feed, which bursts while ChatD writes to the database. It is more than the credit that the vault gets.
const FEED: usize = 512;
/// Time between pings while streams are open. Four times as long while none is.
const PING: Duration = Duration::from_millis(250);
/// If no byte arrives for this time after a ping, the vault counts as hung.
const DEAD: Duration = Duration::from_millis(750);

type Streams = Mutex<HashMap<u64, mpsc::Sender<Body>>>;

/// A link to one region's vault.
#[derive(Debug)]
pub struct Link {
    region: String,
    up: AtomicBool,
    next: AtomicU64,
    streams: Streams,
    out: Mutex<Option<mpsc::Sender<o::Frame>>>,
}

/// One stream on a link. Dropping it closes the stream.
#[derive(Debug)]
pub struct VaultStream {
    link: Arc<Link>,
    number: u64,
    incoming: mpsc::Receiver<Body>,
    /// A frame that `event_here` has read and left for `next`.
    kept: Option<Body>,
}

impl VaultStream {
    /// Sends a frame. False if the link is lost or the vault does not read.
    pub fn send(&self, body: Body) -> bool {
        self.link.send(self.number, body)
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
        if self.link.streams().remove(&self.number).is_some() {
            self.link.send(self.number, Body::Close(o::Close {}));
        }
    }
}

impl Link {
    pub(super) fn start(
        region: &str,
        address: &str,
        tls: TlsConnector,
        routing: Arc<Mutex<Routing>>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            region: region.to_owned(),
            up: AtomicBool::new(false),
            next: AtomicU64::new(1),
            streams: Mutex::default(),
            out: Mutex::new(None),
        });
        let (worker, address, stop) = (link.clone(), address.to_owned(), stop.clone());
        tasks
            .spawn(stop.run_until_cancelled_owned(async move { worker.run(&address, &tls, &routing).await }));
        link
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Body>>> {
        self.streams.lock()
    }

    /// The region of the vault.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// True if the link is connected and the vault has sent its Hello.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Opens a stream with its first frame. None if the link is down.
    pub fn open(self: &Arc<Self>, first: Body) -> Option<VaultStream> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let room = if matches!(first, Body::Subscribe(_)) { FEED } else { IN };
        let (tx, incoming) = mpsc::channel(room);
        self.streams().insert(number, tx);
        let stream = VaultStream { link: self.clone(), number, incoming, kept: None };
        (self.is_up() && stream.send(first)).then_some(stream)
    }

    fn send(&self, stream: u64, body: Body) -> bool {
        let out = self.out.lock();
        out.as_ref().is_some_and(|out| out.try_send(o::Frame { stream, body: Some(body) }).is_ok())
    }

    async fn run(&self, address: &str, tls: &TlsConnector, routing: &Mutex<Routing>) {
        let mut pauses = BACK_OFF.build();
        loop {
            match timeout(CONNECT, dial(address, tls)).await {
                Ok(Ok(stream)) => {
                    let (tx, rx) = mpsc::channel(OUT);
                    *self.out.lock() = Some(tx);
                    let why = self.serve(stream, rx, routing).await;
                    // Reset the back-off only after a Hello. In TLS 1.3 a client learns only after the handshake that the vault refuses its certificate. It
                    // would reconnect without a pause.
                    if self.is_up() {
                        pauses = BACK_OFF.build();
                    }
                    tracing::info!(region = self.region, why, "link to vault lost");
                }
                Ok(Err(e)) => tracing::debug!(region = self.region, error = %e, "no link to vault"),
                Err(_) => tracing::debug!(region = self.region, "no link to vault in time"),
            }
            self.up.store(false, Ordering::Release);
            *self.out.lock() = None;
            routing.lock().lost(&self.region);
            // Dropping the senders ends every stream at once.
            self.streams().clear();
            sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    async fn serve(
        &self,
        stream: TlsStream<TcpStream>,
        mut out: mpsc::Receiver<o::Frame>,
        routing: &Mutex<Routing>,
    ) -> &'static str {
        let (read, write) = tokio::io::split(stream);
        let heard = Mutex::new(Instant::now());
        let reading = async {
            let mut incoming = frames::reader(Heard { read, at: &heard }, MAX_FRAME);
            while let Some(frame) = incoming.next().await {
                match frame {
                    Ok(f) => self.deliver(f, routing),
                    Err(error) => {
                        tracing::debug!(region = self.region, %error, "a vault's frame can't be read");
                        return "a frame that can't be read";
                    }
                }
            }
            "closed by the vault"
        };
        let writing = async {
            let mut writer = frames::Writer::new(write);
            while let Some(first) = out.recv().await {
                if writer.write_waiting(first, &mut out).await.is_err() {
                    return "can't write to the vault";
                }
            }
            "closed here"
        };
        let pinging = async {
            let mut tick = interval(PING);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut turn, mut pinged) = (0u64, None::<Instant>);
            loop {
                tick.tick().await;
                turn += 1;
                let last = *heard.lock();
                if let Some(at) = pinged
                    && last < at
                    && at.elapsed() > DEAD
                {
                    return "the vault hangs";
                }
                let waits = pinged.is_some_and(|at| last < at);
                if !waits && (turn.is_multiple_of(4) || !self.streams().is_empty()) {
                    pinged = Some(Instant::now());
                    self.send(0, Body::Ping(o::Ping { id: turn }));
                }
            }
        };
        tokio::select! {
            why = reading => why,
            why = writing => why,
            why = pinging => why,
        }
    }

    fn deliver(&self, f: o::Frame, routing: &Mutex<Routing>) {
        match f.body {
            Some(Body::Hello(hello)) => {
                routing.lock().hello(&self.region, &hello);
                self.up.store(true, Ordering::Release);
            }
            Some(Body::Pong(_)) | None => {}
            Some(body) => {
                let mut streams = self.streams();
                // Cut a stream that does not read: one slow client must not delay the others. Tell the vault, or it would keep the session until
                // its idle deadline.
                if let Some(tx) = streams.get(&f.stream)
                    && tx.try_send(body).is_err()
                {
                    streams.remove(&f.stream);
                    self.send(f.stream, Body::Close(o::Close {}));
                }
            }
        }
    }
}

/// Records when bytes last arrived.
struct Heard<'a, R> {
    read: R,
    at: &'a Mutex<Instant>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Heard<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.read).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            *self.at.lock() = Instant::now();
        }
        polled
    }
}

async fn dial(address: &str, tls: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // The verifier ignores this name. It checks role and region in the certificate.
    let name = ServerName::try_from("vault").map_err(io::Error::other)?;
    tls.connect(name, stream).await
}
