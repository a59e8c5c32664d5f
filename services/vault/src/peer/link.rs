//! One outgoing connection: calls with numbers, answers matched to them, reconnected with back-off. Raft calls that wait at the same moment share a
//! frame, so the heartbeats of all shards travel together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bkv_core::document::Member;
use bkv_wire::frame;
use bkv_wire::proto::peer as p;
use bytes::BytesMut;
use prost::Message as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Body, PeerError};
use crate::env::{BoxStream, Network};

/// Calls waiting to be written.
const QUEUE: usize = 4096;
const CONNECT: Duration = Duration::from_secs(2);
const BACK_OFF: [u64; 5] = [20, 50, 100, 200, 400];

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
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, why: String) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = why;
        // Dropping the senders tells every caller at once.
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

pub(super) struct Link {
    pub(super) region: String,
    pub(super) identity: Vec<u8>,
    queue: mpsc::Sender<Out>,
    shared: Arc<Shared>,
    number: AtomicU64,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    pub(super) fn start(
        member: &Member,
        address: String,
        config: ClientConfig,
        network: Arc<dyn Network>,
    ) -> Self {
        let (queue, calls) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let task =
            tokio::spawn(run(address, TlsConnector::from(Arc::new(config)), network, calls, shared.clone()));
        Self {
            region: member.region.clone(),
            identity: member.identity.clone(),
            queue,
            shared,
            number: AtomicU64::new(1),
            task,
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
        // Whoever stops waiting (openraft drops calls that are late) must not leave its entry behind.
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
                let why = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
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

async fn run(
    address: String,
    tls: TlsConnector,
    network: Arc<dyn Network>,
    mut calls: mpsc::Receiver<Out>,
    shared: Arc<Shared>,
) {
    let mut failures = 0usize;
    loop {
        let name = ServerName::try_from("vault").map(|n| n.to_owned());
        let connected = timeout(CONNECT, async {
            let stream = network.connect(&address).await?;
            tls.connect(name.map_err(std::io::Error::other)?, stream).await
        });
        let fault = match connected.await {
            Ok(Ok(stream)) => {
                failures = 0;
                let (read, write) = tokio::io::split(stream);
                tokio::select! {
                    e = read_answers(read, &shared) => e,
                    e = write_calls(write, &mut calls) => e,
                }
            }
            Ok(Err(e)) => e,
            Err(_) => std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time"),
        };
        shared.lost(format!("{address}: {fault}"));
        let ms = BACK_OFF.get(failures.min(BACK_OFF.len() - 1)).copied().unwrap_or(400);
        failures += 1;
        // Calls made meanwhile fail at once instead of waiting for a peer that isn't there.
        let until = sleep(Duration::from_millis(ms));
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

async fn read_answers(mut read: ReadHalf<TlsStream<BoxStream>>, shared: &Shared) -> std::io::Error {
    let mut buffer = BytesMut::with_capacity(16 << 10);
    loop {
        loop {
            match frame::take(&mut buffer, frame::MAX_PEER_FRAME) {
                Ok(Some(bytes)) => match p::Message::decode(bytes) {
                    Ok(message) => shared.deliver(message),
                    Err(e) => return std::io::Error::other(e),
                },
                Ok(None) => break,
                Err(e) => return std::io::Error::other(e),
            }
        }
        match read.read_buf(&mut buffer).await {
            Ok(0) => return std::io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => {}
            Err(e) => return e,
        }
    }
}

async fn write_calls(
    mut write: WriteHalf<TlsStream<BoxStream>>,
    calls: &mut mpsc::Receiver<Out>,
) -> std::io::Error {
    let mut buffer = BytesMut::new();
    loop {
        let Some(first) = calls.recv().await else { return std::io::ErrorKind::BrokenPipe.into() };
        // Whoever else is about to call gets the chance to share the frame.
        tokio::task::yield_now().await;
        let mut raft = Vec::new();
        let mut next = Some(first);
        while let Some(out) = next {
            match out {
                Out::Call(id, body) => frame::put(&mut buffer, &p::Message { id, body: Some(body) }),
                Out::Raft(call) => raft.push(call),
            }
            next = if buffer.len() < frame::MAX_FRAME { calls.try_recv().ok() } else { None };
        }
        if !raft.is_empty() {
            frame::put(
                &mut buffer,
                &p::Message { id: 0, body: Some(Body::Raft(p::RaftCalls { calls: raft })) },
            );
        }
        if let Err(e) = write.write_all_buf(&mut buffer).await {
            return e;
        }
        if let Err(e) = write.flush().await {
            return e;
        }
    }
}
