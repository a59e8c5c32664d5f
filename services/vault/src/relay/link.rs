//! One link of a ChatD: reads frames, keeps its streams, writes what sessions answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::Route;
use bkv_wire::frame;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use bytes::{Bytes, BytesMut};
use futures_util::future::select_all;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::feed;
use crate::env::{BoxStream, Network};
use crate::service::Vault;
use crate::session::{End, Session};

/// Streams on one link.
const STREAMS: usize = 65_536;
/// Frames that wait for one stream; a client that sends faster is reset.
const PER_STREAM: usize = 32;
/// Frames that wait to be written; a ChatD that does not read is dropped.
const QUEUE: usize = 8_192;
const HANDSHAKE: Duration = Duration::from_secs(3);
/// A ChatD that takes nothing for so long is dropped, with everything that waits for it.
const WRITE: Duration = Duration::from_secs(10);
/// A stream without a word for so long is closed.
const IDLE: Duration = Duration::from_mins(2);

/// Feeds on one link: ChatD needs one a shard, and one more while an old one ends.
const FEEDS: usize = 1_024;
/// Frames that a feed may send before it is granted more.
const CREDIT: usize = 256;

/// Listens for ChatDs until stopped.
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
    let spawner = tasks.clone();
    tasks.spawn(async move {
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                a = listener.accept() => a,
            };
            let Ok(stream) = accepted else {
                tokio::time::sleep(Duration::from_millis(20)).await; // out of descriptors: not a reason to spin
                continue;
            };
            let (vault, acceptor, stop) = (vault.clone(), acceptor.clone(), stop.clone());
            spawner.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    end = serve(vault, stream, acceptor) => if let Err(e) = end {
                        tracing::debug!(error = %e, "a ChatD's link ended");
                    },
                }
            });
        }
    });
    Ok(bound)
}

pub(super) type Out = mpsc::Sender<o::Frame>;

pub(super) fn frame_of(stream: u64, body: Body) -> o::Frame {
    o::Frame { stream, body: Some(body) }
}

async fn serve(vault: Arc<Vault>, stream: BoxStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let (mut read, mut write) = tokio::io::split(stream);
    let (out, mut queue) = mpsc::channel::<o::Frame>(QUEUE);
    let link = CancellationToken::new();
    let _ends = link.clone().drop_guard();
    let writer_end = link.clone();
    tokio::spawn(async move {
        let mut buffer = BytesMut::new();
        loop {
            let first = tokio::select! {
                () = writer_end.cancelled() => return,
                f = queue.recv() => f,
            };
            let Some(first) = first else { return };
            frame::put(&mut buffer, &first);
            while buffer.len() < frame::MAX_FRAME
                && let Ok(next) = queue.try_recv()
            {
                frame::put(&mut buffer, &next);
            }
            let written =
                async { write.write_all_buf(&mut buffer).await.is_ok() && write.flush().await.is_ok() };
            let written = tokio::select! {
                () = writer_end.cancelled() => false,
                done = timeout(WRITE, written) => done.unwrap_or(false),
            };
            if !written {
                writer_end.cancel();
                return;
            }
        }
    });
    tokio::spawn(greet(vault.clone(), out.clone(), link.clone()));
    let mut open = Open::default();
    let mut buffer = BytesMut::with_capacity(16 << 10);
    loop {
        while let Some(bytes) = frame::take(&mut buffer, frame::MAX_FRAME).map_err(std::io::Error::other)? {
            let f = o::Frame::decode(bytes).map_err(std::io::Error::other)?;
            handle(&vault, f, &mut open, &out, &link);
        }
        let n = tokio::select! {
            () = link.cancelled() => return Ok(()),
            n = read.read_buf(&mut buffer) => n?,
        };
        if n == 0 {
            return Ok(());
        }
    }
}

/// What is open on a link.
#[derive(Default)]
struct Open {
    streams: HashMap<u64, mpsc::Sender<Bytes>>,
    /// Feeds with the frames that they may still send; closing it ends the feed.
    feeds: HashMap<u64, Arc<Semaphore>>,
    /// Ended streams are swept out when there are so many: at each Open it would cost the square of their number.
    sweep_at: usize,
}

impl Open {
    fn sweep(&mut self) {
        if self.streams.len() >= self.sweep_at {
            self.streams.retain(|_, tx| !tx.is_closed());
            self.sweep_at = (2 * self.streams.len()).clamp(64, STREAMS);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.feeds.values().for_each(|credit| credit.close());
    }
}

fn handle(vault: &Arc<Vault>, f: o::Frame, open: &mut Open, out: &Out, link: &CancellationToken) {
    let id = f.stream;
    let reset = |reason: o::reset::Reason| {
        let _ = out.try_send(frame_of(id, Body::Reset(o::Reset { reason: reason.into() })));
    };
    match f.body {
        Some(Body::Open(first)) => {
            open.sweep();
            let Ok(route) = Route::try_from(&first.route[..]) else {
                return reset(o::reset::Reason::Protocol);
            };
            if open.streams.contains_key(&id) || open.streams.len() >= STREAMS {
                return reset(o::reset::Reason::Overloaded);
            }
            let Some(replica) = vault.replica(&route) else { return reset(o::reset::Reason::Protocol) };
            let status = replica.status();
            let (lead, leader) = {
                let s = status.borrow();
                (s.lead, s.leader)
            };
            if !lead {
                let region = leader.map(|n| vault.region_of(n)).unwrap_or_default();
                let _ = out.try_send(frame_of(id, Body::NotLeader(o::NotLeader { region })));
                return;
            }
            let Some(session) = Session::new(vault.clone(), route) else {
                return reset(o::reset::Reason::Protocol);
            };
            let (tx, rx) = mpsc::channel(PER_STREAM);
            open.streams.insert(id, tx);
            tokio::spawn(run_stream(session, id, rx, out.clone(), link.clone()));
        }
        Some(Body::Data(data)) => {
            let Some(tx) = open.streams.get(&id) else { return };
            if tx.try_send(data).is_err() {
                open.streams.remove(&id);
                reset(o::reset::Reason::Overloaded);
            }
        }
        Some(Body::Close(_)) => {
            open.streams.remove(&id);
            if let Some(credit) = open.feeds.remove(&id) {
                credit.close();
            }
        }
        Some(Body::Ping(ping)) => {
            let _ = out.try_send(frame_of(0, Body::Pong(o::Pong { id: ping.id })));
        }
        Some(Body::GetBundle(_)) => {
            let bundle = vault.bundle().unwrap_or_default();
            let _ = out.try_send(frame_of(id, Body::Bundle(bundle)));
        }
        Some(Body::Subscribe(s)) => {
            if open.feeds.contains_key(&id) || open.feeds.len() >= FEEDS {
                return reset(o::reset::Reason::Overloaded);
            }
            let credit = Arc::new(Semaphore::new(CREDIT));
            open.feeds.insert(id, credit.clone());
            tokio::spawn(feed::serve(
                vault.clone(),
                id,
                s,
                feed::Paced { out: out.clone(), credit },
                link.clone(),
            ));
        }
        Some(Body::FeedCredit(c)) => {
            if let Some(credit) = open.feeds.get(&id) {
                let frames = usize::try_from(c.frames).unwrap_or(0);
                credit.add_permits(frames.min(CREDIT.saturating_sub(credit.available_permits())));
            }
        }
        _ => {}
    }
}

async fn run_stream(
    mut session: Session,
    id: u64,
    mut data: mpsc::Receiver<Bytes>,
    out: Out,
    link: CancellationToken,
) {
    loop {
        let bytes = tokio::select! {
            () = link.cancelled() => return,
            b = timeout(IDLE, data.recv()) => b,
        };
        let Ok(Some(bytes)) = bytes else {
            let _ = out.try_send(frame_of(id, Body::Close(o::Close {})));
            return;
        };
        let (answer, end) = session.data(&bytes).await;
        if !answer.is_empty() {
            let sent = tokio::select! {
                () = link.cancelled() => false,
                sent = out.send(frame_of(id, Body::Data(answer.into()))) => sent.is_ok(),
            };
            if !sent {
                return;
            }
        }
        let last = match end {
            End::Open => continue,
            End::NotLeader(region) => Body::NotLeader(o::NotLeader { region }),
            End::Close => Body::Close(o::Close {}),
        };
        let _ = out.send(frame_of(id, last)).await;
        return;
    }
}

/// Says who leads what: at once, and whenever that changes.
async fn greet(vault: Arc<Vault>, out: Out, link: CancellationToken) {
    let mut statuses: Vec<_> = vault.node.replicas().iter().map(crate::replica::Replica::status).collect();
    loop {
        let leaders = statuses
            .iter_mut()
            .zip(0u32..)
            .map(|(s, shard)| {
                let s = s.borrow_and_update();
                let region = if s.lead {
                    vault.region.clone()
                } else {
                    s.leader.map(|n| vault.region_of(n)).unwrap_or_default()
                };
                o::Leadership { shard, region }
            })
            .collect();
        let shards = u32::try_from(vault.node.replicas().len()).unwrap_or(0);
        let hello = o::Hello { region: vault.region.clone(), shards, leaders };
        if out.send(frame_of(0, Body::Hello(hello))).await.is_err() {
            return;
        }
        let changed = select_all(statuses.iter_mut().map(|s| Box::pin(s.changed())));
        tokio::select! {
            () = link.cancelled() => return,
            (result, ..) = changed => if result.is_err() { return },
        }
    }
}
