//! `GET /v1/relay`: one WebSocket of one account with a few streams. Each stream is relayed to the vault that leads the account's shard.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bkv_core::id::Route;
use bkv_wire::frame::TOKEN_EXPIRED;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use bkv_wire::proto::outer::reset::Reason;
use bytes::Bytes;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use prometheus::IntGauge;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::stream::{Action, Stream};
use crate::underway::Charge;
use crate::vaults::{Link, VaultStream};

/// Most frames waiting for one client. A slower client is disconnected.
const OUT: usize = 128;
/// Most frames of one stream that wait to be relayed.
const IN: usize = 64;
/// A client must take a frame within this time.
const WRITE: Duration = Duration::from_secs(10);
/// Most regions that a client may avoid. A fleet has at most 7.
const MAX_AVOIDED: usize = 8;
/// Most bytes of a region's name.
const MAX_NAME: usize = 64;
const LONGEST_WAIT: Duration = Duration::from_millis(300);
/// Pause between two vaults that are tried for one stream. An election is probably running.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(10))
    .with_max_delay(LONGEST_WAIT)
    .with_factor(2.0)
    .without_max_times()
    .with_jitter();

fn frame(stream: u64, body: Body) -> o::Frame {
    o::Frame { stream, body: Some(body) }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client disconnected.
    Gone,
    /// ChatD drains.
    Draining,
    /// The client does not read its frames.
    Slow,
    /// The client sent nothing for too long.
    Idle,
    /// The client exceeded its rate, or has too many bytes under way to the vault.
    Rate,
    /// A frame that can't be decoded, is unknown, or is not allowed here.
    Protocol,
    /// The access token has ended. Otherwise a thief of one token could keep its connection for ever.
    Expired,
}

impl End {
    /// The reason in the resets of the client's open streams.
    const fn reset(self) -> Option<Reason> {
        match self {
            Self::Gone | Self::Slow => None,
            Self::Draining => Some(Reason::Draining),
            Self::Idle => Some(Reason::Idle),
            Self::Rate => Some(Reason::Overloaded),
            Self::Protocol => Some(Reason::Protocol),
            Self::Expired => Some(Reason::Expired),
        }
    }

    /// The close code, and the reason for people.
    const fn close(self) -> (u16, &'static str) {
        match self {
            // ChatD aborts the writer of these two, so it sends no close frame.
            Self::Gone | Self::Slow => (close_code::NORMAL, ""),
            Self::Draining => (close_code::AWAY, "ChatD is being restarted: connect again"),
            Self::Idle => (close_code::POLICY, "the connection was idle for too long"),
            Self::Rate => (close_code::POLICY, "too many frames or bytes: send more slowly"),
            Self::Protocol => (close_code::PROTOCOL, "a frame that does not belong here"),
            Self::Expired => (TOKEN_EXPIRED, "the access token has expired: connect again with a fresh one"),
        }
    }

    /// The label under which the failure is counted.
    const fn counted(self) -> Option<&'static str> {
        match self {
            Self::Gone | Self::Draining | Self::Expired => None,
            Self::Slow => Some("slow_client"),
            Self::Idle => Some("idle"),
            Self::Rate => Some("rate"),
            Self::Protocol => Some("protocol"),
        }
    }
}

/// Queue of frames for one client. A full queue ends the connection: the client is too slow.
#[derive(Clone)]
struct Out {
    queue: mpsc::Sender<o::Frame>,
    slow: CancellationToken,
}

impl Out {
    fn send(&self, stream: u64, body: Body) {
        if self.queue.try_send(frame(stream, body)).is_err() {
            self.slow.cancel();
        }
    }
}

/// Bytes of a client. They count for its account until they are written to the vault.
struct Charged {
    data: Bytes,
    charge: Charge,
}

/// Counts one connection until it is dropped.
struct Counted(IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Serves one client until it disconnects, is too slow, too fast or idle, until ChatD drains, or until its access token has ended after `lasts`.
pub(crate) async fn serve(socket: WebSocket, shared: Arc<Shared>, route: Route, lasts: Duration) {
    shared.metrics.connections.inc();
    let _counted = Counted(shared.metrics.connections.clone());
    let (sink, mut source) = socket.split();
    let (queue, waiting) = mpsc::channel::<o::Frame>(OUT);
    let out = Out { queue, slow: CancellationToken::new() };
    let ended = Arc::new(OnceLock::new());
    let mut writer = shared.writers.spawn(write(sink, waiting, out.slow.clone(), ended.clone()));
    let mut streams: HashMap<u64, mpsc::Sender<Charged>> = HashMap::new();
    let idle = Duration::from_secs(shared.limits.idle_seconds);
    let mut expired = pin!(sleep(lasts));
    let end = loop {
        let message = tokio::select! {
            () = &mut expired => break End::Expired,
            () = shared.drain.cancelled() => break End::Draining,
            () = out.slow.cancelled() => break End::Slow,
            m = timeout(idle, source.next()) => m,
        };
        let message = match message {
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => break End::Gone,
            Ok(Some(Ok(message))) => message,
            Err(_) => break End::Idle,
        };
        // Count pings too: each costs an answer.
        if !shared.may_send(&route) {
            break End::Rate;
        }
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(_) => break End::Protocol,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => continue,
        };
        let handled = o::Frame::decode(bytes)
            .map_err(|_| End::Protocol)
            .and_then(|f| client_frame(f, &mut streams, &out, &shared, route));
        if let Err(end) = handled {
            break end;
        }
    };
    if let Some(reason) = end.counted() {
        shared.metrics.failures.with_label_values(&[reason]).inc();
    }
    if let Some(reason) = end.reset() {
        for id in streams.keys() {
            out.send(*id, Body::Reset(o::Reset { reason: reason.into() }));
        }
    }
    let _ = ended.set(end);
    // A stream ends when its sender is dropped. The writer ends with the last stream.
    drop((streams, out));
    if matches!(end, End::Slow | End::Gone) || timeout(WRITE, &mut writer).await.is_err() {
        writer.abort();
    }
}

/// Writes frames until every stream has dropped the queue, then closes the socket. Ends the connection if the client does not read.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut waiting: mpsc::Receiver<o::Frame>,
    slow: CancellationToken,
    ended: Arc<OnceLock<End>>,
) {
    while let Some(f) = waiting.recv().await {
        let sent = timeout(WRITE, sink.send(Message::Binary(f.encode_to_vec().into()))).await;
        if !matches!(sent, Ok(Ok(()))) {
            slow.cancel();
            return;
        }
    }
    let (code, reason) = ended.get().map_or((close_code::NORMAL, ""), |end| end.close());
    let bye = CloseFrame { code, reason: reason.into() };
    let _ = timeout(WRITE, sink.send(Message::Close(Some(bye)))).await;
}

/// Handles one frame of the client. An error ends its connection.
fn client_frame(
    f: o::Frame,
    streams: &mut HashMap<u64, mpsc::Sender<Charged>>,
    out: &Out,
    shared: &Arc<Shared>,
    route: Route,
) -> Result<(), End> {
    let id = f.stream;
    match f.body {
        // Stream 0 is the link itself.
        Some(Body::Open(open)) if id != 0 => {
            let avoided = avoided(&open).ok_or(End::Protocol)?;
            streams.retain(|_, tx| !tx.is_closed());
            if streams.contains_key(&id) {
                return Err(End::Protocol);
            }
            if streams.len() >= shared.limits.streams {
                out.send(id, Body::Reset(o::Reset { reason: Reason::Overloaded.into() }));
                return Ok(());
            }
            let (tx, rx) = mpsc::channel(IN);
            streams.insert(id, tx);
            // The route comes from the token, never from the client's message.
            shared.streams.spawn(relay(id, rx, out.clone(), shared.clone(), route, avoided));
        }
        // Without a stream it was reset meanwhile.
        Some(Body::Data(data)) => {
            if let Some(tx) = streams.get(&id) {
                let charge = shared.underway.charge(route, data.len()).ok_or(End::Rate)?;
                if let Err(mpsc::error::TrySendError::Full(_)) = tx.try_send(Charged { data, charge }) {
                    return Err(End::Rate);
                }
            }
        }
        Some(Body::Close(_)) => {
            streams.remove(&id);
        }
        Some(Body::Ping(p)) => out.send(0, Body::Pong(o::Pong { id: p.id })),
        _ => return Err(End::Protocol),
    }
    Ok(())
}

/// Runs one stream: carries out the decisions of the state machine.
async fn relay(
    id: u64,
    mut client: mpsc::Receiver<Charged>,
    out: Out,
    shared: Arc<Shared>,
    route: Route,
    avoided: Vec<String>,
) {
    let mut state = Stream::default();
    let mut tries = Tries { number: 0, avoided, tried: Vec::new(), hint: None, waits: WAITS.build() };
    let mut named = false;
    let mut vault = tries.open(&shared, &route, &[]).await;
    shared.metrics.relays.inc();
    loop {
        let mut charge = None;
        let action = match &mut vault {
            None => state.vault_lost(),
            Some(v) => tokio::select! {
                data = client.recv() => match data {
                    Some(received) => {
                        charge = Some(received.charge);
                        state.client_data(received.data)
                    }
                    None => return, // closed by the client; dropping the vault's stream closes that too
                },
                body = v.next() => match body {
                    Some(Body::Data(data)) => state.vault_data(data),
                    // The vault's next Hello withdraws its claim. A vault that only missed its majority for a moment keeps it.
                    Some(Body::NotLeader(n)) => {
                        tries.hint = Some(n.region);
                        state.not_leader()
                    }
                    Some(Body::Reset(r)) => state.reset(Reason::try_from(r.reason).unwrap_or(Reason::VaultLost)),
                    Some(Body::Close(_)) => {
                        state.close();
                        out.send(id, Body::Close(o::Close {}));
                        return;
                    }
                    Some(_) => Action::Ignore,
                    None => state.vault_lost(),
                },
            },
        };
        match action {
            Action::ToVault(data) => {
                if vault.as_ref().is_none_or(|v| !v.send_charged(Body::Data(data), charge)) {
                    vault = None;
                }
            }
            Action::ToClient(data) => {
                if !named && let Some(vault) = &vault {
                    named = true;
                    let region = vault.region().to_owned();
                    out.send(id, Body::Relayed(o::Relayed { region }));
                }
                out.send(id, Body::Data(data));
            }
            Action::Elsewhere(kept) => vault = tries.open(&shared, &route, &kept).await,
            Action::Reset(reason) => {
                let label = match reason {
                    Reason::LeaderMoved => "leader_moved",
                    Reason::VaultLost => "vault_lost",
                    Reason::NoLeader => "no_leader",
                    _ => "other",
                };
                shared.metrics.failures.with_label_values(&[label]).inc();
                out.send(id, Body::Reset(o::Reset { reason: reason.into() }));
                return;
            }
            Action::Ignore => {}
        }
        if state.is_over() {
            return;
        }
    }
}

/// The regions that a client wants to avoid. None if it names more than a fleet has, or no names.
fn avoided(open: &o::Open) -> Option<Vec<String>> {
    let names = open.not.iter().all(|region| (1..=MAX_NAME).contains(&region.len()));
    (names && open.not.len() <= MAX_AVOIDED).then(|| open.not.clone())
}

/// The vaults that are tried for one stream.
struct Tries {
    number: u32,
    /// Regions that the client wants to avoid. It found their vaults' keys wrong, so it would end a stream to them.
    avoided: Vec<String>,
    /// Regions of the vaults tried in this round.
    tried: Vec<String>,
    /// The leader that the last vault named. Only this stream follows it.
    hint: Option<String>,
    waits: ExponentialBackoff,
}

impl Tries {
    /// Opens the stream at a leader, or at a vault that may know the leader, and sends it what the client has sent so far. Tries every connected vault before it
    /// tries one again, so vaults that send a stream to each other get no further tries by that.
    async fn open(&mut self, shared: &Shared, route: &Route, kept: &[Bytes]) -> Option<VaultStream> {
        if self.number > 0 {
            sleep(self.waits.next().unwrap_or(LONGEST_WAIT)).await;
        }
        self.number += 1;
        let mut candidates = shared.vaults.candidates(route);
        candidates.retain(|link| self.avoided.iter().all(|region| region != link.region()));
        let untried = |link: &&Arc<Link>| !self.tried.iter().any(|region| region == link.region());
        let named = candidates.iter().find(|link| self.hint.as_deref() == Some(link.region()));
        let next = named.filter(untried).or_else(|| candidates.iter().find(untried)).cloned();
        let link = next.or_else(|| {
            self.tried.clear();
            candidates.first().cloned()
        })?;
        self.tried.push(link.region().to_owned());
        self.hint = None;
        let stream =
            link.open(Body::Open(o::Open { route: route.0.to_vec().into(), ..Default::default() }))?;
        kept.iter().all(|data| stream.send(Body::Data(data.clone()))).then_some(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_avoids_at_most_as_many_regions_as_a_fleet_has() {
        let open = |not: Vec<String>| avoided(&o::Open { not, ..Default::default() });
        assert_eq!(open(vec![]), Some(vec![]));
        let all: Vec<String> = (0..8).map(|n| format!("region-{n}")).collect();
        assert_eq!(open(all.clone()), Some(all.clone()));
        assert_eq!(open([all, vec!["one-more".into()]].concat()), None);
        assert_eq!(open(vec![String::new()]), None);
        assert_eq!(open(vec!["x".repeat(65)]), None);
    }
}
