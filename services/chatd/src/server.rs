//! The public port (HTTPS) and the health port. The access token for ChatD decides here which account a request is for. ChatD does not decode what
//! clients send to vaults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Extension, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bkv_core::id::Route;
use bkv_core::statement;
use bkv_net::{Tasks, accept, http};
use bkv_tokens::TokenError;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::limits::neighbourhood;
use crate::relay;
use crate::shared::{Caller, Shared};

/// Answer to a token of this fleet that has expired.
const EXPIRED: &str = "Bearer error=\"invalid_token\", error_description=\"expired\"";
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Largest frame of a client, in bytes.
const MAX_FRAME: usize = 64 << 10;
/// How long a request waits for a new key of the token's issuer.
const KEYS: Duration = Duration::from_secs(1);

/// The route of the token's account. It follows from the token alone, never from what the client claims.
async fn route(shared: &Shared, headers: &HeaderMap) -> Result<Route, Response> {
    let answer = |challenge: &'static str| {
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], "token refused\n").into_response()
    };
    let refused = || answer("Bearer");
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "))
        .ok_or_else(refused)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    match shared.tokens.verify_or_refresh(token, now, KEYS).await {
        Ok(s) => Ok(statement::route(&s.issuer, &s.subject)),
        Err(e) => {
            tracing::debug!(reason = e.reason(), "token refused");
            // The verifier checks the signature first: only a holder of a genuine token learns that it has expired (RFC 6750, section 3.1).
            Err(match e {
                TokenError::Expired => answer(EXPIRED),
                _ => refused(),
            })
        }
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
    let route = match route(&shared, &headers).await {
        Ok(route) => route,
        Err(refused) => return refused,
    };
    if shared.drain.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    let Some(entered) = shared.connect(route) else {
        return busy("too many connections of this account\n");
    };
    // axum starts the task. `running` counts it in the group until the task has ended or the upgrade has failed.
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
    match route(&shared, &headers).await {
        Ok(route) if !shared.may_send(&route, &caller) => busy(TOO_MANY),
        Ok(route) => Json(shared.metadata.account(&route).await).into_response(),
        Err(refused) => refused,
    }
}

/// Listens on the public port until `stop`.
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

/// Listens on the health port until `stop`: `/livez`, `/readyz`, `/metrics`.
pub async fn health(
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: &Tasks,
) -> std::io::Result<SocketAddr> {
    let ready = |State(s): State<Arc<Shared>>| async move {
        // Stay ready without Postgres: only the key metadata is stale.
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
