//! Incoming connections. The raw public key identifies the node that has connected. Each call is answered in a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_net::{accept, frames};
use bkv_wire::frame::MAX_PEER_FRAME;
use bkv_wire::proto::peer as p;
use futures_util::StreamExt as _;
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pace::Pace;
use super::{Admitted, Body, tls};
use crate::env::{BoxStream, Network};

/// Time for a handshake in one data centre: both tokens sign. Its round trips come on top.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Most answers waiting to be written. A peer that does not read them is disconnected.
const QUEUE: usize = 4096;

/// Answers calls of peers.
#[async_trait::async_trait]
pub trait Incoming: Send + Sync + 'static {
    /// The answer to a call that is not about Raft.
    async fn call(&self, from: NodeId, body: Body) -> Body;
    /// The answer to a call about Raft.
    async fn raft(&self, from: NodeId, call: p::RaftCall) -> p::raft_answer::Answer;
}

/// Listens until `stop`. `most`: the longest round trip that this vault reckons with. Returns the bound address, for tests that ask for port 0.
pub async fn listen(
    network: &dyn Network,
    address: SocketAddr,
    key: Arc<CertifiedKey>,
    (admitted, most): (Admitted, Duration),
    incoming: Arc<dyn Incoming>,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> io::Result<SocketAddr> {
    let listener = network.listen(address).await?;
    let bound = listener.address()?;
    let config = tls::server(key, admitted.clone()).map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    // As the other side's limit, which also contains two round trips.
    let handshake = HANDSHAKE + most * 2;
    let calls = Calls { tasks: tasks.clone(), stop: stop.clone() };
    let serve = move |stream| {
        let (acceptor, admitted) = (acceptor.clone(), admitted.clone());
        let peer = Peer { incoming: incoming.clone(), calls: calls.clone() };
        Some(async move {
            if let Err(error) = serve(acceptor, (stream, handshake), &admitted, peer).await {
                tracing::debug!(%error, "a peer's connection ended");
            }
        })
    };
    tasks.spawn(accept(listener, stop, tasks.clone(), serve));
    Ok(bound)
}

/// How a peer's calls are answered.
struct Peer {
    incoming: Arc<dyn Incoming>,
    calls: Calls,
}

/// Each call runs in a task of its own. A call that has begun is finished even if its connection has ended meanwhile, but not beyond `stop`.
#[derive(Clone)]
struct Calls {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Calls {
    fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(call));
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    (stream, within): (BoxStream, Duration),
    admitted: &Admitted,
    peer: Peer,
) -> io::Result<()> {
    let stream = accept::handshake(&acceptor, stream, within).await?;
    let spki = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| c.as_ref().to_vec());
    let node = spki.as_deref().and_then(|s| admitted.node_of(s));
    let (Some(node), Some(spki)) = (node, spki) else {
        return Err(io::Error::other("not on the admission list"));
    };
    let (read, write) = tokio::io::split(stream);
    let (answers, queue) = mpsc::channel::<p::Message>(QUEUE);
    let mut messages = frames::reader(read, MAX_PEER_FRAME);
    let reading = async {
        while let Some(message) = messages.next().await {
            // The peer may have left the list since it connected.
            if admitted.node_of(&spki) != Some(node) {
                return Err(io::Error::other("no longer on the admission list"));
            }
            peer.dispatch(node, message?, &answers);
        }
        Ok(())
    };
    tokio::select! {
        end = reading => end,
        end = write_answers(frames::Writer::new(write), queue) => end,
    }
}

/// Writes answers as they come, all Raft answers that wait at the same moment in one frame.
async fn write_answers<W: AsyncWrite + Unpin>(
    mut writer: frames::Writer<W>,
    mut queue: mpsc::Receiver<p::Message>,
) -> io::Result<()> {
    let mut pace = Pace::default();
    while let Some(first) = queue.recv().await {
        pace.gather().await;
        let mut raft = Vec::new();
        let (mut next, mut written) = (Some(first), 0);
        while let Some(m) = next {
            written += 1;
            match m.body {
                Some(Body::RaftAnswers(a)) => raft.extend(a.answers),
                _ => writer.put(&m)?,
            }
            next = if writer.is_full() { None } else { queue.try_recv().ok() };
        }
        if !raft.is_empty() {
            writer.put(&p::Message {
                id: 0,
                body: Some(Body::RaftAnswers(p::RaftAnswers { answers: raft })),
            })?;
        }
        writer.flush().await?;
        pace.wrote(written);
    }
    Ok(())
}

impl Peer {
    fn dispatch(&self, from: NodeId, message: p::Message, answers: &mpsc::Sender<p::Message>) {
        match message.body {
            Some(Body::Raft(calls)) => {
                for call in calls.calls {
                    let (incoming, answers) = (self.incoming.clone(), answers.clone());
                    self.calls.spawn(async move {
                        let id = call.id;
                        let answer = Some(incoming.raft(from, call).await);
                        let body = p::RaftAnswers { answers: vec![p::RaftAnswer { id, answer }] };
                        let _ = answers.try_send(p::Message { id: 0, body: Some(Body::RaftAnswers(body)) });
                    });
                }
            }
            // Answered here: the vault's load is no part of the round trip.
            Some(Body::Ping(p::Ping {})) => {
                let _ = answers.try_send(p::Message { id: message.id, body: Some(Body::Pong(p::Pong {})) });
            }
            Some(body) => {
                let (incoming, answers, id) = (self.incoming.clone(), answers.clone(), message.id);
                self.calls.spawn(async move {
                    let body = incoming.call(from, body).await;
                    let _ = answers.try_send(p::Message { id, body: Some(body) });
                });
            }
            None => {}
        }
    }
}
