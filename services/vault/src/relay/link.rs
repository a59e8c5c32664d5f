//! One ChatD's link: reads frames, keeps the streams and feeds that ChatD opened, writes their answers.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::Route;
use bkv_mtls::Changes;
use bkv_net::{Tasks, frames};
use bkv_wire::frame::MAX_FRAME;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use rand::Rng as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::out::{Out, frame_of};
use super::{feed, greeting, stream};
use crate::service::Vault;
use crate::session::Session;

/// Most streams on one link.
const STREAMS: usize = 65_536;
/// Most frames waiting for one stream. A client that sends faster is reset.
const PER_STREAM: usize = 32;
/// Most frames waiting to be written. A ChatD that does not read is disconnected.
const QUEUE: usize = 8_192;
/// A ChatD that reads nothing for this long is disconnected, and everything that waits for it is dropped.
const WRITE: Duration = Duration::from_secs(10);
/// Most feeds on one link. ChatD needs one per shard, and one more while an old one ends.
const FEEDS: usize = 1_024;
/// A link is closed at an age between this and once and a half as much. ChatD renews its connections before that. Otherwise an attacker who stole ChatD's key could
/// keep a link after the certificate has expired or its authority was withdrawn.
const LIFE: Duration = Duration::from_hours(1);
/// A link is closed within this time after this vault's certificate or authority has changed. With jitter, so that not all clients connect anew at once.
const AFTER_CHANGE: Duration = Duration::from_secs(30);
/// Frames that a feed may send before ChatD grants more.
const CREDIT: usize = 256;

/// The tasks that links start. They outlive their link while a session still has to finish.
#[derive(Clone)]
pub(super) struct Children {
    writers: TaskTracker,
    greetings: TaskTracker,
    sessions: TaskTracker,
    feeds: TaskTracker,
}

impl Children {
    pub(super) fn of(tasks: &Tasks) -> Self {
        Self {
            writers: tasks.group("relay writers"),
            greetings: tasks.group("relay greetings"),
            sessions: tasks.group("client sessions"),
            feeds: tasks.group("event feeds"),
        }
    }
}

/// Serves a link until ChatD closes it, sends an invalid frame, or stops reading. Everything that belongs to the link ends with it.
pub(super) async fn serve<S>(
    vault: Arc<Vault>,
    stream: S,
    children: Children,
    mut changes: Changes,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(stream);
    let (out, queue) = mpsc::channel::<o::Frame>(QUEUE);
    let ended = CancellationToken::new();
    children.writers.spawn(write_frames(frames::Writer::new(write), queue, ended.clone()));
    children.greetings.spawn(greeting::greet(vault.clone(), out.clone(), ended.clone()));
    let mut incoming = frames::reader::<_, o::Frame>(read, MAX_FRAME);
    let mut link = Link { vault, out, ended: ended.clone(), children, open: Open::default() };
    // Dropped before `link`: a stream whose sender is dropped first would tell its client that the session was closed in order.
    let _ends = ended.clone().drop_guard();
    let part = rand::thread_rng().gen_range(0.0..1.0);
    let old = async {
        tokio::select! {
            () = sleep(LIFE.mul_f64(1.0 + part / 2.0)) => {}
            () = changes.next() => sleep(AFTER_CHANGE.mul_f64(part)).await,
        }
    };
    tokio::pin!(old);
    loop {
        let frame = tokio::select! {
            () = ended.cancelled() => return Ok(()),
            () = &mut old => return Ok(()),
            frame = incoming.next() => frame,
        };
        match frame {
            Some(frame) => link.handle(frame?),
            None => return Ok(()),
        }
    }
}

/// Writes waiting frames until the link ends. Ends the link if ChatD reads nothing.
async fn write_frames<W: AsyncWrite + Unpin>(
    mut writer: frames::Writer<W>,
    mut queue: mpsc::Receiver<o::Frame>,
    ended: CancellationToken,
) {
    let writing = async {
        while let Some(first) = queue.recv().await {
            let written = timeout(WRITE, writer.write_waiting(first, &mut queue)).await;
            if !matches!(written, Ok(Ok(()))) {
                ended.cancel();
                return;
            }
        }
    };
    ended.run_until_cancelled(writing).await;
}

/// What is open on a link.
#[derive(Default)]
struct Open {
    streams: HashMap<u64, mpsc::Sender<Bytes>>,
    /// Feeds with the frames that they may still send. Closing the semaphore ends the feed.
    feeds: HashMap<u64, Arc<Semaphore>>,
    /// Ended streams are removed once there are this many. Removing them at each Open would cost the square of their number.
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

struct Link {
    vault: Arc<Vault>,
    out: Out,
    ended: CancellationToken,
    children: Children,
    open: Open,
}

impl Link {
    fn reset(&self, id: u64, reason: o::reset::Reason) {
        self.send(id, Body::Reset(o::Reset { reason: reason.into() }));
    }

    /// Does not wait: the writer is about to disconnect a ChatD whose queue is full.
    fn send(&self, id: u64, body: Body) {
        let _ = self.out.try_send(frame_of(id, body));
    }

    fn handle(&mut self, f: o::Frame) {
        let id = f.stream;
        match f.body {
            Some(Body::Open(first)) => self.open_stream(id, &first),
            Some(Body::Data(data)) => {
                let Some(tx) = self.open.streams.get(&id) else { return };
                if tx.try_send(data).is_err() {
                    self.open.streams.remove(&id);
                    self.reset(id, o::reset::Reason::Overloaded);
                }
            }
            Some(Body::Close(_)) => {
                self.open.streams.remove(&id);
                if let Some(credit) = self.open.feeds.remove(&id) {
                    credit.close();
                }
            }
            Some(Body::Ping(ping)) => {
                self.send(0, Body::Pong(o::Pong { id: ping.id }));
            }
            Some(Body::GetBundle(_)) => {
                self.send(id, Body::Bundle(self.vault.bundle().unwrap_or_default()));
            }
            Some(Body::Subscribe(s)) => self.open_feed(id, s),
            Some(Body::FeedCredit(c)) => {
                if let Some(credit) = self.open.feeds.get(&id) {
                    let frames = usize::try_from(c.frames).unwrap_or(0);
                    credit.add_permits(frames.min(CREDIT.saturating_sub(credit.available_permits())));
                }
            }
            _ => {}
        }
    }

    fn open_stream(&mut self, id: u64, first: &o::Open) {
        self.open.sweep();
        let Ok(route) = Route::try_from(&first.route[..]) else {
            return self.reset(id, o::reset::Reason::Protocol);
        };
        if self.open.streams.contains_key(&id) || self.open.streams.len() >= STREAMS {
            return self.reset(id, o::reset::Reason::Overloaded);
        }
        let Some(replica) = self.vault.replica(&route) else {
            return self.reset(id, o::reset::Reason::Protocol);
        };
        let (lead, leader) = {
            let status = replica.status();
            let s = status.borrow();
            (s.lead, s.leader)
        };
        if !lead {
            let region = leader.map(|n| self.vault.region_of(n)).unwrap_or_default();
            return self.send(id, Body::NotLeader(o::NotLeader { region }));
        }
        let Some(session) = Session::new(self.vault.clone(), route) else {
            return self.reset(id, o::reset::Reason::Protocol);
        };
        let (tx, rx) = mpsc::channel(PER_STREAM);
        self.open.streams.insert(id, tx);
        self.children.sessions.spawn(stream::run(session, id, rx, self.out.clone(), self.ended.clone()));
    }

    fn open_feed(&mut self, id: u64, subscribe: o::Subscribe) {
        if self.open.feeds.contains_key(&id) || self.open.feeds.len() >= FEEDS {
            return self.reset(id, o::reset::Reason::Overloaded);
        }
        let credit = Arc::new(Semaphore::new(CREDIT));
        self.open.feeds.insert(id, credit.clone());
        let paced = feed::Paced { out: self.out.clone(), credit };
        self.children.feeds.spawn(feed::serve(self.vault.clone(), id, subscribe, paced, self.ended.clone()));
    }
}
