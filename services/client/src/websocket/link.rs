//! One WebSocket and the task that reads and writes it. The task ends when the link is dropped or the transport is closed; the transport awaits it.
//! Streams of a lost link return an error, and their callers open new ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bkv_wire::frame::TOKEN_EXPIRED;
use bkv_wire::proto::outer::{Close, Frame, frame::Body};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::transport::TransportError;

/// The most frames queued to ChatD, for all streams together.
const OUT: usize = 256;
/// The most frames that a stream has not read yet. An honest vault sends a handful in answer to each request; beyond that the link cuts the stream.
const IN: usize = 64;
/// Send a ping after this long without a frame from ChatD. After twice that the link is lost.
const IDLE: Duration = Duration::from_secs(15);
/// For the closing handshake. ChatD may not answer any more.
const CLOSE: Duration = Duration::from_secs(1);

type Streams = Mutex<HashMap<u64, mpsc::Sender<Body>>>;

pub(super) struct Link {
    out: mpsc::Sender<Frame>,
    streams: Arc<Streams>,
    alive: Arc<AtomicBool>,
    expired: Arc<AtomicBool>,
    next: AtomicU64,
    _end: DropGuard,
}

pub(super) struct Stream {
    number: u64,
    link: Arc<Link>,
    incoming: mpsc::Receiver<Body>,
}

impl Link {
    /// `tasks` owns the task. `stop` ends it.
    pub(super) fn start<S>(socket: WebSocketStream<S>, tasks: &TaskTracker, stop: CancellationToken) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (out, outgoing) = mpsc::channel(OUT);
        let streams = Arc::new(Streams::default());
        let alive = Arc::new(AtomicBool::new(true));
        let expired = Arc::new(AtomicBool::new(false));
        let ends = (alive.clone(), expired.clone());
        tasks.spawn(run(socket, outgoing, streams.clone(), ends, stop.clone()));
        Self { out, streams, alive, expired, next: AtomicU64::new(1), _end: stop.drop_guard() }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// True if ChatD has ended the connection because its token has ended.
    pub(super) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Acquire)
    }

    pub(super) fn stream(self: &Arc<Self>) -> Stream {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, incoming) = mpsc::channel(IN);
        lock(&self.streams).insert(number, sender);
        if !self.is_alive() {
            lock(&self.streams).clear(); // lost in between: the stream sees the end at once
        }
        Stream { number, link: self.clone(), incoming }
    }
}

impl Stream {
    pub(super) async fn write(&mut self, body: Option<Body>) -> Result<(), TransportError> {
        let frame = Frame { stream: self.number, body };
        self.link.out.send(frame).await.map_err(|_| lost())
    }

    pub(super) async fn read(&mut self) -> Result<Option<Body>, TransportError> {
        self.incoming.recv().await.map(Some).ok_or_else(lost)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if lock(&self.link.streams).remove(&self.number).is_some() {
            // If the queue is full the vault's own idle limit ends the stream.
            let _ = self.link.out.try_send(Frame { stream: self.number, body: Some(Body::Close(Close {})) });
        }
    }
}

fn lost() -> TransportError {
    TransportError::Lost("ChatD closed the connection".into())
}

fn lock(streams: &Streams) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Body>>> {
    streams.lock()
}

async fn run<S>(
    mut socket: WebSocketStream<S>,
    outgoing: mpsc::Receiver<Frame>,
    streams: Arc<Streams>,
    (alive, expired): (Arc<AtomicBool>, Arc<AtomicBool>),
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    stop.run_until_cancelled(carry(&mut socket, outgoing, &streams, &expired)).await;
    alive.store(false, Ordering::Release);
    lock(&streams).clear(); // every stream sees the end
    let _ = tokio::time::timeout(CLOSE, socket.close(None)).await;
}

/// Carries frames in both directions until the link is lost.
async fn carry<S>(
    socket: &mut WebSocketStream<S>,
    mut outgoing: mpsc::Receiver<Frame>,
    streams: &Streams,
    expired: &AtomicBool,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut silent = false;
    loop {
        let step = tokio::select! {
            frame = outgoing.recv() => match frame {
                Some(frame) => write(socket, frame, &mut outgoing).await,
                None => Err(()),
            },
            message = socket.next() => {
                silent = false;
                match message {
                    Some(Ok(Message::Binary(bytes))) => deliver(streams, bytes),
                    Some(Ok(Message::Close(why))) => {
                        let token = why.is_some_and(|why| u16::from(why.code) == TOKEN_EXPIRED);
                        expired.store(token, Ordering::Release);
                        Err(())
                    }
                    Some(Err(_)) | None => Err(()),
                    Some(Ok(_)) => Ok(()), // pings are answered by the library
                }
            }
            () = tokio::time::sleep(IDLE) => {
                if std::mem::replace(&mut silent, true) { Err(()) } else { socket.send(Message::Ping(Bytes::new())).await.map_err(drop) }
            }
        };
        if step.is_err() {
            return;
        }
    }
}

/// Writes all queued frames, then flushes once, so frames of many streams share system calls.
async fn write<S>(
    socket: &mut WebSocketStream<S>,
    first: Frame,
    outgoing: &mut mpsc::Receiver<Frame>,
) -> Result<(), ()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut next = Some(first);
    while let Some(frame) = next {
        socket.feed(Message::Binary(frame.encode_to_vec().into())).await.map_err(drop)?;
        next = outgoing.try_recv().ok();
    }
    socket.flush().await.map_err(drop)
}

/// Passes a frame to its stream. Only bytes that do not decode as a frame end the link.
fn deliver(streams: &Streams, bytes: Bytes) -> Result<(), ()> {
    let frame = Frame::decode(bytes).map_err(drop)?;
    let Some(body) = frame.body else { return Ok(()) };
    let mut streams = lock(streams);
    let ends = matches!(body, Body::Reset(_) | Body::Close(_));
    let kept = streams.get(&frame.stream).is_none_or(|stream| stream.try_send(body).is_ok());
    if ends || !kept {
        streams.remove(&frame.stream);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Arbitrary bytes from ChatD: a frame goes to its stream, frames of unknown streams are dropped, bytes that do not decode as a frame end
        /// the link.
        #[test]
        fn s38_arbitrary_frames_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, to: u8) {
            let streams = Streams::default();
            let (sender, _receiver) = tokio::sync::mpsc::channel(4);
            lock(&streams).insert(7, sender);
            let _ = deliver(&streams, bytes.clone().into());
            let frame = Frame { stream: 7, body: Some(Body::Data(bytes.into())) };
            let mut good = frame.encode_to_vec();
            let at = at.index(good.len());
            good[at] = to;
            let _ = deliver(&streams, good.into());
        }
    }
}
