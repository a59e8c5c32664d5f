//! One connection to a vault, with many streams. Pings notice a hung vault in about a second.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bkv_core::id::Route;
use bkv_net::frames;
use bkv_net::round_trip::RoundTrip;
use bkv_wire::frame::MAX_FRAME;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use crate::underway::Charge;

/// Time between pings while streams are open. Four times as long while none is.
const PING: Duration = Duration::from_millis(250);
/// If no byte arrives for this time and the longest round trip after a ping, the vault counts as hung.
const DEAD: Duration = Duration::from_millis(750);
/// Bytes that are written before the queue is asked for its next frame. A ping waits behind no more than these.
const AT_ONCE: usize = 64 << 10;
/// How long the streams of a retired connection may last.
const GRACE: Duration = Duration::from_mins(2);

/// One connection to a vault.
#[derive(Debug, Default)]
pub(super) struct Connection {
    streams: Mutex<HashMap<u64, mpsc::Sender<Body>>>,
    queue: Queue,
    greeted: AtomicBool,
    retired: CancellationToken,
    replaced: CancellationToken,
    ended: AtomicBool,
    /// The ping that waits for its answer, and what earlier ones took.
    distance: Mutex<Distance>,
}

/// How far away the vault is.
#[derive(Clone, Copy, Debug, Default)]
struct Distance {
    pinged: Option<(u64, Instant)>,
    round_trip: Option<RoundTrip>,
}

impl Distance {
    fn answered(&mut self, id: u64) {
        if let Some((_, at)) = self.pinged.take_if(|(pinged, _)| *pinged == id) {
            // A vault that hangs is not far away.
            let took = at.elapsed().min(DEAD);
            self.round_trip = Some(self.round_trip.map_or_else(|| RoundTrip::first(took), |r| r.and(took)));
        }
    }

    /// The longest wait for the answer to a ping. A vault can't raise it without bound.
    fn limit(&self) -> Duration {
        DEAD + self.round_trip.map_or(Duration::ZERO, RoundTrip::longest).min(DEAD)
    }
}

impl Connection {
    /// Adds a stream.
    pub(super) fn insert(&self, stream: u64, incoming: mpsc::Sender<Body>) {
        self.streams.lock().insert(stream, incoming);
        // It may have ended meanwhile. Dropping the sender ends the stream.
        if self.ended.load(Ordering::Acquire) {
            self.streams.lock().clear();
        }
    }

    /// Forgets a stream. False if it had ended.
    pub(super) fn remove(&self, stream: u64) -> bool {
        self.streams.lock().remove(&stream).is_some()
    }

    /// Queues a frame of an account, or of ChatD itself. False if the connection has ended or the vault does not read.
    pub(super) fn send(&self, account: Option<Route>, frame: o::Frame, charge: Option<Charge>) -> bool {
        !self.ended.load(Ordering::Acquire)
            && match account {
                Some(account) => self.queue.push(account, frame, charge),
                None => self.queue.push_own(frame),
            }
    }

    /// True once the vault has sent a Hello.
    pub(super) fn was_greeted(&self) -> bool {
        self.greeted.load(Ordering::Acquire)
    }

    /// Another connection takes new streams from now on.
    pub(super) fn replace(&self) {
        self.replaced.cancel();
    }

    /// Lets the connection end once another has replaced it and its streams have ended.
    pub(super) fn retire(&self) {
        self.retired.cancel();
    }

    /// True once another connection is to take its place.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.is_cancelled()
    }

    /// Ends every stream at once.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.streams.lock().clear();
    }

    /// Reads, writes and pings until the connection ends. Returns why it did.
    pub(super) async fn serve<S>(&self, stream: S, greeted: impl Fn(&o::Hello), region: &str) -> &'static str
    where
        S: AsyncRead + AsyncWrite,
    {
        let (read, write) = tokio::io::split(stream);
        let heard = Mutex::new(Instant::now());
        let reading = async {
            let mut incoming = frames::reader(Heard { read, at: &heard }, MAX_FRAME);
            while let Some(frame) = incoming.next().await {
                match frame {
                    Ok(o::Frame { body: Some(Body::Hello(hello)), .. }) => {
                        greeted(&hello);
                        self.greeted.store(true, Ordering::Release);
                    }
                    Ok(f) => self.deliver(f),
                    Err(error) => {
                        tracing::debug!(region, %error, "a vault's frame can't be read");
                        return "a frame that can't be read";
                    }
                }
            }
            "closed by the vault"
        };
        let writing = async {
            let mut writer = frames::Writer::new(write);
            loop {
                let mut size = 0;
                while size < AT_ONCE
                    && let Some(waiting) = self.queue.pop()
                {
                    size += waiting.frame.encoded_len();
                    if writer.put(&waiting.frame).is_err() {
                        return "a frame that can't be written";
                    }
                }
                if size == 0 {
                    self.queue.filled().await;
                } else if writer.flush().await.is_err() {
                    return "can't write to the vault";
                }
            }
        };
        let pinging = self.ping(&heard);
        let retiring = async {
            self.retired.cancelled().await;
            let until = Instant::now() + GRACE;
            // A client that comes while the next connection is being made needs this one, also if it has no streams.
            let _ = timeout_at(until, self.replaced.cancelled()).await;
            let mut tick = interval(PING);
            while !self.streams.lock().is_empty() && Instant::now() < until {
                tick.tick().await;
            }
            "renewed"
        };
        tokio::select! {
            why = reading => why,
            why = writing => why,
            why = pinging => why,
            why = retiring => why,
        }
    }

    async fn ping(&self, heard: &Mutex<Instant>) -> &'static str {
        let mut tick = interval(PING);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut turn, mut pinged) = (0u64, None::<Instant>);
        loop {
            tick.tick().await;
            turn += 1;
            let last = *heard.lock();
            if let Some(at) = pinged
                && last < at
                && at.elapsed() > self.distance.lock().limit()
            {
                return "the vault hangs";
            }
            let waits = pinged.is_some_and(|at| last < at);
            if !waits && (turn.is_multiple_of(4) || !self.streams.lock().is_empty()) {
                pinged = Some(Instant::now());
                self.distance.lock().pinged = Some((turn, Instant::now()));
                self.queue.push_own(o::Frame { stream: 0, body: Some(Body::Ping(o::Ping { id: turn })) });
            }
        }
    }

    fn deliver(&self, f: o::Frame) {
        match f.body {
            Some(Body::Pong(pong)) => self.distance.lock().answered(pong.id),
            None => {}
            Some(body) => {
                let mut streams = self.streams.lock();
                // Cut a stream that does not read: one slow client must not delay the others. Tell the vault, or it would keep the session until
                // its idle deadline.
                if let Some(tx) = streams.get(&f.stream)
                    && tx.try_send(body).is_err()
                {
                    streams.remove(&f.stream);
                    self.queue.push_own(o::Frame { stream: f.stream, body: Some(Body::Close(o::Close {})) });
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

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
