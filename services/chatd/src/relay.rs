//! `GET /v1/relay`: one WebSocket of one account, with a few streams on it, each relayed to the vault that leads the account's shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bkv_core::id::Route;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use bkv_wire::proto::outer::reset::Reason;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::server::Shared;
use crate::stream::{Action, Stream};
use crate::vaults::VaultStream;

/// Frames for one client that it has not taken yet; a client slower than that is dropped.
const OUT: usize = 128;
/// Frames of one stream that were not relayed yet.
const IN: usize = 64;
/// A client must take a frame within this time.
const WRITE: Duration = Duration::from_secs(10);
/// Waiting for a leader to be known, per try.
const WAIT: [u64; 6] = [10, 30, 60, 120, 200, 300];

type Out = mpsc::Sender<o::Frame>;

fn frame(stream: u64, body: Body) -> o::Frame {
    o::Frame { stream, body: Some(body) }
}

/// Serves one client until it goes, is too slow, too fast or idle, or ChatD drains.
pub(crate) async fn serve(socket: WebSocket, shared: Arc<Shared>, route: Route) {
    shared.metrics.connections.inc();
    let (mut sink, mut source) = socket.split();
    let (out, mut queue) = mpsc::channel::<o::Frame>(OUT);
    let writer = tokio::spawn(async move {
        while let Some(f) = queue.recv().await {
            let sent = timeout(WRITE, sink.send(Message::Binary(f.encode_to_vec().into()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
        let bye = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        let _ = timeout(WRITE, sink.send(Message::Close(Some(bye)))).await;
    });
    let mut streams: HashMap<u64, mpsc::Sender<Bytes>> = HashMap::new();
    let idle = Duration::from_secs(shared.limits.idle_seconds);
    loop {
        let message = tokio::select! {
            () = shared.drain.cancelled() => break,
            m = timeout(idle, source.next()) => m,
        };
        let Ok(Some(Ok(message))) = message else { break };
        let Message::Binary(bytes) = message else { continue };
        if !shared.may_send(&route) {
            shared.metrics.failures.with_label_values(&["rate"]).inc();
            break;
        }
        let Ok(f) = o::Frame::decode(bytes) else {
            shared.metrics.failures.with_label_values(&["protocol"]).inc();
            break;
        };
        if !client_frame(f, &mut streams, &out, &shared, route) || writer.is_finished() {
            break;
        }
    }
    if shared.drain.is_cancelled() {
        for id in streams.keys() {
            let _ = out.try_send(frame(*id, Body::Reset(o::Reset { reason: Reason::Draining.into() })));
        }
    }
    drop((streams, out));
    let _ = timeout(WRITE, writer).await;
    shared.metrics.connections.dec();
}

/// False: the client broke the protocol or reads too slowly.
fn client_frame(
    f: o::Frame,
    streams: &mut HashMap<u64, mpsc::Sender<Bytes>>,
    out: &Out,
    shared: &Arc<Shared>,
    route: Route,
) -> bool {
    let id = f.stream;
    match f.body {
        Some(Body::Open(_)) => {
            streams.retain(|_, tx| !tx.is_closed());
            if streams.contains_key(&id) {
                return false;
            }
            if streams.len() >= shared.limits.streams {
                return out
                    .try_send(frame(id, Body::Reset(o::Reset { reason: Reason::Overloaded.into() })))
                    .is_ok();
            }
            let (tx, rx) = mpsc::channel(IN);
            streams.insert(id, tx);
            // The route is the token's, never the client's word.
            tokio::spawn(relay(id, rx, out.clone(), shared.clone(), route));
            true
        }
        Some(Body::Data(data)) => match streams.get(&id) {
            Some(tx) => !matches!(tx.try_send(data), Err(mpsc::error::TrySendError::Full(_))),
            None => true, // a stream that was reset meanwhile
        },
        Some(Body::Close(_)) => {
            streams.remove(&id);
            true
        }
        Some(Body::Ping(p)) => out.try_send(frame(0, Body::Pong(o::Pong { id: p.id }))).is_ok(),
        _ => false,
    }
}

/// One stream: the state machine says what to do, this does it.
async fn relay(id: u64, mut client: mpsc::Receiver<Bytes>, out: Out, shared: Arc<Shared>, route: Route) {
    let mut state = Stream::default();
    let mut turn = 0usize;
    let mut vault = open(&shared, &route, &mut turn, &[]).await;
    shared.metrics.relays.inc();
    loop {
        let action = match &mut vault {
            None => state.vault_lost(),
            Some(v) => tokio::select! {
                data = client.recv() => match data {
                    Some(data) => state.client_data(data),
                    None => return, // closed by the client; dropping the vault's stream closes that too
                },
                body = v.next() => match body {
                    Some(Body::Data(data)) => state.vault_data(data),
                    Some(Body::NotLeader(n)) => {
                        let shard = shared.vaults.routing().shard(&route);
                        if let Some(shard) = shard {
                            shared.vaults.routing().not_leader(shard, v.region(), &n.region);
                        }
                        state.not_leader()
                    }
                    Some(Body::Reset(r)) => state.reset(Reason::try_from(r.reason).unwrap_or(Reason::VaultLost)),
                    Some(Body::Close(_)) => {
                        state.close();
                        let _ = out.send(frame(id, Body::Close(o::Close {}))).await;
                        return;
                    }
                    Some(_) => Action::Ignore,
                    None => state.vault_lost(),
                },
            },
        };
        match action {
            Action::ToVault(data) => {
                if vault.as_ref().is_none_or(|v| !v.send(Body::Data(data))) {
                    vault = None;
                }
            }
            Action::ToClient(data) => {
                // A client that does not take its frames is dropped, not waited for.
                if out.try_send(frame(id, Body::Data(data))).is_err() {
                    shared.metrics.failures.with_label_values(&["slow_client"]).inc();
                    return;
                }
            }
            Action::Elsewhere(kept) => vault = open(&shared, &route, &mut turn, &kept).await,
            Action::Reset(reason) => {
                let word = match reason {
                    Reason::LeaderMoved => "leader_moved",
                    Reason::VaultLost => "vault_lost",
                    Reason::NoLeader => "no_leader",
                    _ => "other",
                };
                shared.metrics.failures.with_label_values(&[word]).inc();
                let _ = out.send(frame(id, Body::Reset(o::Reset { reason: reason.into() }))).await;
                return;
            }
            Action::Ignore => {}
        }
        if state.is_over() {
            return;
        }
    }
}

/// Opens the stream at the leader, or at whoever may know it; what the client sent so far goes along.
async fn open(shared: &Shared, route: &Route, turn: &mut usize, kept: &[Bytes]) -> Option<VaultStream> {
    if *turn > 0 {
        let ms = WAIT.get((*turn - 1).min(WAIT.len() - 1)).copied().unwrap_or(300);
        sleep(Duration::from_millis(ms)).await;
    }
    *turn += 1;
    let link = shared.vaults.pick(route, *turn)?;
    let stream = link.open(Body::Open(o::Open { route: route.0.to_vec().into() }))?;
    kept.iter().all(|data| stream.send(Body::Data(data.clone()))).then_some(stream)
}
