//! One outgoing connection: numbers its calls, matches the answers to them, and reconnects with back-off. Raft calls that wait at the same moment
//! share a frame, so the heartbeats of all shards travel together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bkv_core::document::Member;
use bkv_core::id::NodeId;
use bkv_net::frames;
use bkv_wire::frame::MAX_PEER_FRAME;
use bkv_wire::proto::peer as p;
use futures_util::StreamExt as _;
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::pace::Pace;
use super::round_trips::RoundTrips;
use super::tls::ALPN;
use super::{Body, PeerError};
use crate::env::{BoxStream, Network};
use crate::raft::sizes::FRAME;

/// Most calls waiting to be written.
const QUEUE: usize = 4096;
/// The number of a ping. Those of other calls begin with 1.
const PING_ID: u64 = 0;
/// Time for a connection in one data centre. TCP's and TLS's round trips come on top.
const CONNECT: Duration = Duration::from_secs(2);
/// Time between measurements of the round trip.
const PING: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// Pause between failed connections. With jitter, so that not all vaults dial at the same moment after a partition heals.
const BACK_OFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(20))
    .with_max_delay(LONGEST_PAUSE)
    .with_factor(2.0)
    .without_max_times()
    .with_jitter();

pub(super) enum Out {
    Call(u64, Body),
    Raft(p::RaftCall),
}

enum Waiting {
    Call(oneshot::Sender<Body>),
    Raft(oneshot::Sender<p::raft_answer::Answer>),
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<u64, Waiting>>,
    fault: Mutex<String>,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock()
    }

    fn lost(&self, why: String) {
        *self.fault.lock() = why;
        // Dropping the senders fails every waiting call at once.
        self.waiting().clear();
    }

    fn deliver(&self, message: p::Message) {
        match message.body {
            Some(Body::RaftAnswers(answers)) => {
                for a in answers.answers {
                    if let (Some(Waiting::Raft(tx)), Some(answer)) = (self.waiting().remove(&a.id), a.answer)
                    {
                        let _ = tx.send(answer);
                    }
                }
            }
            Some(body) => {
                if let Some(Waiting::Call(tx)) = self.waiting().remove(&message.id) {
                    let _ = tx.send(body);
                }
            }
            None => {}
        }
    }
}

/// What the link measures, and how far the peer may be away.
pub(super) struct Distance {
    pub(super) round_trips: RoundTrips,
    /// The longest round trip that this vault reckons with.
    pub(super) most: Duration,
}

pub(super) struct Link {
    pub(super) region: String,
    pub(super) identity: Vec<u8>,
    queue: mpsc::Sender<Out>,
    shared: Arc<Shared>,
    number: AtomicU64,
    /// Ends the link's task.
    _end: DropGuard,
}

impl Link {
    pub(super) fn start(
        member: &Member,
        address: String,
        config: ClientConfig,
        network: Arc<dyn Network>,
        distance: Distance,
        end: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let (queue, calls) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let (ended, work_shared) = (end.clone(), shared.clone());
        let measure = Measure {
            queue: queue.downgrade(),
            node: member.node,
            round_trips: distance.round_trips,
            most: distance.most,
        };
        let connect = CONNECT + distance.most * 2;
        tasks.spawn(async move {
            let tls = TlsConnector::from(Arc::new(config));
            ended
                .run_until_cancelled(run(address, connect, tls, network, calls, &work_shared, &measure))
                .await;
            work_shared.lost("the link is closed".into());
        });
        Self {
            region: member.region.clone(),
            identity: member.identity.clone(),
            queue,
            shared,
            number: AtomicU64::new(1),
            _end: end.drop_guard(),
        }
    }

    pub(super) async fn call(&self, body: Body, deadline: Instant) -> Result<Body, PeerError> {
        let (tx, rx) = oneshot::channel();
        let id = self.number.fetch_add(1, Ordering::Relaxed);
        self.wait(id, Waiting::Call(tx), Out::Call(id, body), rx, deadline).await
    }

    pub(super) async fn raft(
        &self,
        mut call: p::RaftCall,
        deadline: Instant,
    ) -> Result<p::raft_answer::Answer, PeerError> {
        let (tx, rx) = oneshot::channel();
        let id = self.number.fetch_add(1, Ordering::Relaxed);
        call.id = id;
        self.wait(id, Waiting::Raft(tx), Out::Raft(call), rx, deadline).await
    }

    async fn wait<T>(
        &self,
        id: u64,
        waiting: Waiting,
        out: Out,
        rx: oneshot::Receiver<T>,
        deadline: Instant,
    ) -> Result<T, PeerError> {
        self.shared.waiting().insert(id, waiting);
        // A caller that stops waiting (openraft drops late calls) must not leave its entry behind.
        let _forget = Forget { shared: &self.shared, id };
        if self.queue.try_send(out).is_err() {
            return Err(PeerError::Unreachable {
                region: self.region.clone(),
                why: "too many calls wait".into(),
            });
        }
        match timeout_at(deadline, rx).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => {
                let why = self.shared.fault.lock().clone();
                Err(PeerError::Unreachable { region: self.region.clone(), why })
            }
            Err(_) => Err(PeerError::Late(self.region.clone())),
        }
    }
}

struct Forget<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}

/// Measures the round trip.
struct Measure {
    queue: mpsc::WeakSender<Out>,
    node: NodeId,
    round_trips: RoundTrips,
    /// The longest round trip that this vault reckons with.
    most: Duration,
}

impl Measure {
    /// Runs as long as the connection. A ping waits for its answer, however late it comes, before the next one is sent.
    async fn run(&self, shared: &Shared) {
        loop {
            let (tx, rx) = oneshot::channel();
            // No call has this number, and only one ping is on its way.
            shared.waiting().insert(PING_ID, Waiting::Call(tx));
            let sent = Instant::now();
            let queued = self
                .queue
                .upgrade()
                .is_some_and(|q| q.try_send(Out::Call(PING_ID, Body::Ping(p::Ping {}))).is_ok());
            if queued && rx.await.is_ok() {
                // A peer that hangs is not far away.
                self.round_trips.measured(self.node, sent.elapsed().min(self.most));
            }
            sleep(PING).await;
        }
    }
}

async fn run(
    address: String,
    connect: Duration,
    tls: TlsConnector,
    network: Arc<dyn Network>,
    mut calls: mpsc::Receiver<Out>,
    shared: &Shared,
    measure: &Measure,
) {
    let mut pauses = BACK_OFF.build();
    loop {
        let name = ServerName::try_from("vault").map(|n| n.to_owned());
        let connected = timeout(connect, async {
            let stream = network.connect(&address).await?;
            tls.connect(name.map_err(std::io::Error::other)?, stream).await
        });
        let fault = match connected.await {
            Ok(Ok(stream)) => {
                pauses = BACK_OFF.build();
                let (read, write) = tokio::io::split(stream);
                tokio::select! {
                    e = read_answers(read, shared) => e,
                    e = write_calls(write, &mut calls) => e,
                    () = measure.run(shared) => std::io::ErrorKind::BrokenPipe.into(),
                }
            }
            Ok(Err(e)) => explained(e),
            Err(_) => std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time"),
        };
        shared.lost(format!("{address}: {fault}"));
        // Calls made meanwhile fail at once instead of waiting for a peer that isn't there.
        let until = sleep(pauses.next().unwrap_or(LONGEST_PAUSE));
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                call = calls.recv() => match call {
                    Some(Out::Call(id, _)) => { shared.waiting().remove(&id); }
                    Some(Out::Raft(c)) => { shared.waiting().remove(&c.id); }
                    None => return,
                },
            }
        }
    }
}

/// A handshake fails with `NoApplicationProtocol` only if the other vault speaks another version.
fn explained(e: std::io::Error) -> std::io::Error {
    let error = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let refused = rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
    if error != Some(&refused) {
        return e;
    }
    let ours = String::from_utf8_lossy(ALPN);
    std::io::Error::other(format!(
        "the other vault does not speak {ours}: run the same version of the program on all vaults"
    ))
}

async fn read_answers(read: ReadHalf<TlsStream<BoxStream>>, shared: &Shared) -> std::io::Error {
    let mut answers = frames::reader(read, MAX_PEER_FRAME);
    loop {
        match answers.next().await {
            Some(Ok(message)) => shared.deliver(message),
            Some(Err(e)) => return e,
            None => return std::io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

async fn write_calls(
    write: WriteHalf<TlsStream<BoxStream>>,
    calls: &mut mpsc::Receiver<Out>,
) -> std::io::Error {
    let mut writer = frames::Writer::new(write);
    let mut pace = Pace::default();
    while let Some(first) = calls.recv().await {
        pace.gather().await;
        match write_waiting(&mut writer, first, calls).await {
            Ok(written) => pace.wrote(written),
            Err(e) => return e,
        }
    }
    std::io::ErrorKind::BrokenPipe.into()
}

/// Writes the calls that wait, all Raft calls among them in one frame, or in a few if they are large. Returns their number.
async fn write_waiting(
    writer: &mut frames::Writer<WriteHalf<TlsStream<BoxStream>>>,
    first: Out,
    calls: &mut mpsc::Receiver<Out>,
) -> std::io::Result<usize> {
    let mut raft = Gathered::default();
    let (mut next, mut written) = (Some(first), 0);
    while let Some(out) = next {
        written += 1;
        match out {
            Out::Call(id, body) => writer.put(&p::Message { id, body: Some(body) })?,
            Out::Raft(call) => raft.add(call),
        }
        next = if writer.is_full() || raft.bytes >= FRAME { None } else { calls.try_recv().ok() };
    }
    if !raft.calls.is_empty() {
        writer.put(&p::Message { id: 0, body: Some(Body::Raft(p::RaftCalls { calls: raft.calls })) })?;
    }
    writer.flush().await?;
    Ok(written)
}

/// The Raft calls of one frame.
#[derive(Default)]
struct Gathered {
    calls: Vec<p::RaftCall>,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, call: p::RaftCall) {
        self.bytes = self.bytes.saturating_add(call.encoded_len());
        self.calls.push(call);
    }
}
