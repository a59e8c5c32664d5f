//! Incoming connections: who it is comes from its raw public key; every call is answered in a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_wire::frame;
use bkv_wire::proto::peer as p;
use bytes::BytesMut;
use prost::Message as _;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Admitted, Body, tls};
use crate::env::{BoxStream, Network};

const HANDSHAKE: Duration = Duration::from_secs(3);
/// Answers waiting to be written; a peer that does not read them is dropped.
const QUEUE: usize = 4096;

/// Answers calls of peers.
#[async_trait::async_trait]
pub trait Incoming: Send + Sync + 'static {
    /// The answer to a call that is not about Raft.
    async fn call(&self, from: NodeId, body: Body) -> Body;
    /// The answer to a call about Raft.
    async fn raft(&self, from: NodeId, call: p::RaftCall) -> p::raft_answer::Answer;
}

/// Listens until cancelled. Gives the address, for tests that ask for port 0.
pub async fn listen(
    network: &dyn Network,
    address: SocketAddr,
    key: Arc<CertifiedKey>,
    admitted: Admitted,
    incoming: Arc<dyn Incoming>,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> std::io::Result<SocketAddr> {
    let listener = network.listen(address).await?;
    let bound = listener.address()?;
    let config = tls::server(key, admitted.clone()).map_err(std::io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let spawner = tasks.clone();
    tasks.spawn(async move {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                s = listener.accept() => s,
            };
            let Ok(stream) = stream else {
                tokio::time::sleep(Duration::from_millis(20)).await; // out of descriptors, say: not a reason to spin
                continue;
            };
            let (acceptor, admitted, incoming, stop) =
                (acceptor.clone(), admitted.clone(), incoming.clone(), stop.clone());
            spawner.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    end = serve(acceptor, stream, &admitted, incoming) => {
                        if let Err(e) = end {
                            tracing::debug!(error = %e, "a peer's connection ended");
                        }
                    }
                }
            });
        }
    });
    Ok(bound)
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: BoxStream,
    admitted: &Admitted,
    incoming: Arc<dyn Incoming>,
) -> std::io::Result<()> {
    let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let spki = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| c.as_ref().to_vec());
    let node = spki.as_deref().and_then(|s| admitted.node_of(s));
    let (Some(node), Some(spki)) = (node, spki) else {
        return Err(std::io::Error::other("not on the admission list"));
    };
    let (mut read, mut write) = tokio::io::split(stream);
    let (answers, mut queue) = mpsc::channel::<p::Message>(QUEUE);
    let writer = tokio::spawn(async move {
        let mut buffer = BytesMut::new();
        while let Some(first) = queue.recv().await {
            let mut raft = Vec::new();
            let mut next = Some(first);
            while let Some(m) = next {
                match m.body {
                    Some(Body::RaftAnswers(a)) => raft.extend(a.answers),
                    _ => frame::put(&mut buffer, &m),
                }
                next = if buffer.len() < frame::MAX_FRAME { queue.try_recv().ok() } else { None };
            }
            if !raft.is_empty() {
                frame::put(
                    &mut buffer,
                    &p::Message { id: 0, body: Some(Body::RaftAnswers(p::RaftAnswers { answers: raft })) },
                );
            }
            if write.write_all_buf(&mut buffer).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
    });
    let mut buffer = BytesMut::with_capacity(16 << 10);
    let end = loop {
        match frame::take(&mut buffer, frame::MAX_PEER_FRAME) {
            Ok(Some(bytes)) => {
                // Struck off the list since: not served any longer.
                if admitted.node_of(&spki) != Some(node) {
                    break Err(std::io::Error::other("no longer on the admission list"));
                }
                let message = p::Message::decode(bytes).map_err(std::io::Error::other)?;
                dispatch(node, message, &incoming, &answers);
                continue;
            }
            Ok(None) => {}
            Err(e) => break Err(std::io::Error::other(e)),
        }
        match read.read_buf(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(e) => break Err(e),
        }
    };
    writer.abort();
    end
}

fn dispatch(
    from: NodeId,
    message: p::Message,
    incoming: &Arc<dyn Incoming>,
    answers: &mpsc::Sender<p::Message>,
) {
    match message.body {
        Some(Body::Raft(calls)) => {
            for call in calls.calls {
                let (incoming, answers) = (incoming.clone(), answers.clone());
                tokio::spawn(async move {
                    let id = call.id;
                    let answer = incoming.raft(from, call).await;
                    let answers_body =
                        p::RaftAnswers { answers: vec![p::RaftAnswer { id, answer: Some(answer) }] };
                    let _ =
                        answers.try_send(p::Message { id: 0, body: Some(Body::RaftAnswers(answers_body)) });
                });
            }
        }
        Some(body) => {
            let (incoming, answers, id) = (incoming.clone(), answers.clone(), message.id);
            tokio::spawn(async move {
                let body = incoming.call(from, body).await;
                let _ = answers.try_send(p::Message { id, body: Some(body) });
            });
        }
        None => {}
    }
}
