//! The public door (HTTPS) and the health port. Who is asked for is judged here by ChatD's own token; what they send is not looked at.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Extension, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bkv_config::chatd::Limits;
use bkv_core::id::Route;
use bkv_core::statement;
use bkv_mtls::{Identity, WebIdentity};
use bkv_net::{Tasks, accept, http};
use bkv_tokens::{TokenError, Verifier};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fleet::FleetCache;
use crate::limits::{Buckets, Counts, Rate, neighbourhood};
use crate::metrics::Metrics;
use crate::projection::Metadata;
use crate::relay;
use crate::vaults::Vaults;

/// What is answered to a token of this fleet that has run out.
const EXPIRED: &str = "Bearer error=\"invalid_token\", error_description=\"expired\"";
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The most a client's frame may hold.
const MAX_FRAME: usize = 64 << 10;
/// How long the issuer may be asked for a new key.
const KEYS: Duration = Duration::from_secs(1);
/// Accounts and addresses that are remembered by limits.
const REMEMBERED: usize = 200_000;

/// What all handlers share.
#[derive(Debug)]
pub struct Shared {
    /// Links to vaults.
    pub vaults: Arc<Vaults>,
    /// ChatD's tokens.
    pub tokens: Verifier,
    /// What Postgres knows.
    pub metadata: Metadata,
    /// The bundle.
    pub fleet: FleetCache,
    /// Limits.
    pub limits: Limits,
    /// Metrics.
    pub metrics: Metrics,
    /// Cancelled when ChatD drains.
    pub drain: CancellationToken,
    rates: Mutex<Buckets<Route>>,
    accounts: Mutex<Counts<Route>>,
    address_rates: Mutex<Buckets<IpAddr>>,
    addresses: Mutex<Counts<IpAddr>>,
    room: Arc<Semaphore>,
    /// A connection that was upgraded to a WebSocket, in a task that axum starts.
    websockets: TaskTracker,
    pub(crate) writers: TaskTracker,
    pub(crate) streams: TaskTracker,
    certificates: (Arc<Identity>, Arc<WebIdentity>),
    started: Instant,
}

impl Shared {
    /// With nothing counted yet.
    pub fn new(
        vaults: Arc<Vaults>,
        tokens: Verifier,
        metadata: Metadata,
        limits: Limits,
        metrics: Metrics,
        drain: CancellationToken,
        certificates: (Arc<Identity>, Arc<WebIdentity>),
        tasks: &Tasks,
    ) -> Arc<Self> {
        let address = Rate { per_second: limits.address_per_second, burst: limits.address_burst };
        let rate = Rate { per_second: limits.frames_per_second, burst: limits.frames_burst };
        Arc::new(Self {
            vaults,
            tokens,
            metadata,
            fleet: FleetCache::default(),
            limits,
            metrics,
            drain,
            rates: Mutex::new(Buckets::new(rate, REMEMBERED)),
            accounts: Mutex::new(Counts::new(limits.connections_per_account)),
            address_rates: Mutex::new(Buckets::new(address, REMEMBERED)),
            addresses: Mutex::new(Counts::new(limits.connections_per_address)),
            room: Arc::new(Semaphore::new(usize::try_from(limits.connections).unwrap_or(usize::MAX >> 3))),
            websockets: tasks.group("WebSockets"),
            writers: tasks.group("WebSocket writers"),
            streams: tasks.group("client streams"),
            certificates,
            started: Instant::now(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One frame or request of an account at an address: both have a budget.
    pub(crate) fn may_send(&self, route: &Route, caller: &Caller) -> bool {
        self.may_call(caller.address)
            && self.rates.lock().unwrap_or_else(PoisonError::into_inner).take(*route, self.now())
    }

    /// One thing that costs us something before we know who asks: a handshake, a token's signature.
    fn may_call(&self, address: IpAddr) -> bool {
        self.address_rates.lock().unwrap_or_else(PoisonError::into_inner).take(address, self.now())
    }

    /// A new socket, if there is room for it.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Caller>> {
        let room = self.room.clone().try_acquire_owned().ok()?;
        let counted = self.may_call(address)
            && self.addresses.lock().unwrap_or_else(PoisonError::into_inner).enter(address);
        counted.then(|| Arc::new(Caller { shared: self.clone(), address, _room: room }))
    }

    /// Whose token is this? The route follows from it and from nothing that the client says.
    async fn route(&self, headers: &HeaderMap) -> Result<Route, Response> {
        let answer = |challenge: &'static str| {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], "token refused\n")
                .into_response()
        };
        let refused = || answer("Bearer");
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "))
            .ok_or_else(refused)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        match self.tokens.verify_or_refresh(token, now, KEYS).await {
            Ok(s) => Ok(statement::route(&s.issuer, &s.subject)),
            Err(e) => {
                tracing::debug!(reason = e.reason(), "token refused");
                // Judged after the signature: only who was given this token learns that it has run out (RFC 6750, section 3.1).
                Err(match e {
                    TokenError::Expired => answer(EXPIRED),
                    _ => refused(),
                })
            }
        }
    }
}

/// One socket. It counts until the last who uses it lets go: after an upgrade that is the WebSocket's task, while the HTTP server's ends there.
pub(crate) struct Caller {
    shared: Arc<Shared>,
    address: IpAddr,
    _room: OwnedSemaphorePermit,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.address);
    }
}

/// Leaves the count when a connection ends, however it ends.
struct Entered(Arc<Shared>, Route);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.1);
    }
}

fn busy(why: &'static str) -> Response {
    (StatusCode::TOO_MANY_REQUESTS, why).into_response()
}

const TOO_MANY: &str = "too many requests\n";

async fn relay_route(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !shared.may_call(caller.address) {
        return busy(TOO_MANY);
    }
    let route = match shared.route(&headers).await {
        Ok(route) => route,
        Err(refused) => return refused,
    };
    if shared.drain.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    if !shared.accounts.lock().unwrap_or_else(PoisonError::into_inner).enter(route) {
        return busy("too many connections of this account\n");
    }
    let entered = Entered(shared.clone(), route);
    // axum starts the task. The token counts it among ours until it has ended, or until the upgrade has failed.
    let running = shared.websockets.token();
    upgrade.max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME).on_upgrade(move |socket| async move {
        relay::serve(socket, shared, route, &caller).await;
        drop((entered, running));
    })
}

async fn fleet_route(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
) -> Response {
    if !shared.may_call(caller.address) {
        return busy(TOO_MANY);
    }
    let Some(bundle) = shared.fleet.get(&shared.vaults).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no vault has given the fleet's documents yet\n")
            .into_response();
    };
    let tag = format!("\"{}\"", bkv_core::hash::tagged("bkv/etag/1", &[&bundle]));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(header::CONTENT_TYPE, "application/x-protobuf".to_owned()), (header::ETAG, tag)], Body::from(bundle))
        .into_response()
}

async fn account_route(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
) -> Response {
    if !shared.may_call(caller.address) {
        return busy(TOO_MANY);
    }
    match shared.route(&headers).await {
        Ok(route) if !shared.may_send(&route, &caller) => busy(TOO_MANY),
        Ok(route) => Json(shared.metadata.account(&route).await).into_response(),
        Err(refused) => refused,
    }
}

/// The public door.
pub async fn public(
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    tasks: &Tasks,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let app = Router::new()
        .route("/v1/relay", get(relay_route))
        .route("/v1/fleet", get(fleet_route))
        .route("/v1/account", get(account_route))
        .with_state(shared.clone());
    let acceptor = TlsAcceptor::from(tls);
    let serve = move |(stream, peer): (TcpStream, SocketAddr)| {
        let caller = shared.enter(neighbourhood(peer.ip()))?;
        let (acceptor, app) = (acceptor.clone(), app.clone());
        Some(async move {
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = accept::handshake(&acceptor, stream, HANDSHAKE).await {
                http::serve(stream, app.layer(Extension(caller)), HANDSHAKE).await;
            }
        })
    };
    let connections = tasks.group("client connections");
    tasks.group("public listener").spawn(accept(listener, stop, connections, serve));
    Ok(bound)
}

/// `/livez`, `/readyz`, `/metrics`.
pub async fn health(
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: &Tasks,
) -> std::io::Result<SocketAddr> {
    let ready = |State(s): State<Arc<Shared>>| async move {
        // Postgres away is no reason to send people elsewhere: only metadata is stale.
        let good = s.vaults.up() > 0 && !s.drain.is_cancelled();
        let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, Json(json!({ "ready": good, "vaults": s.vaults.up() })))
    };
    let metrics = |State(s): State<Arc<Shared>>| async move {
        let (role, web) = &s.certificates;
        s.metrics.expiry(role.expiry(), web.expiry());
        if let Some(number) = s.fleet.number(&s.vaults).await {
            s.metrics.bundle(number);
        }
        s.metrics.lag.set(i64::try_from(s.metadata.lag().as_secs()).unwrap_or(i64::MAX));
        s.metrics.jwks.set(i64::try_from(s.tokens.keys().refreshed()).unwrap_or(0));
        s.metrics.text()
    };
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared);
    http::plain(address, app, stop, &tasks.group("health port")).await
}
