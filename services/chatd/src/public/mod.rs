//! The public port (HTTPS). The access token for ChatD decides here which account a request is for. ChatD does not decode what clients send to vaults.
//!
//! Until ChatD has checked a token, a request draws on the budget of its address. After that it draws on the account's alone.

mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Extension, Query, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bkv_config::chatd::Listen;
use bkv_core::id::Route;
use bkv_core::statement;
use bkv_net::{Tasks, accept, bind};
use bkv_tokens::TokenError;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::relay;
use crate::run::LEEWAY;
use crate::shared::Shared;
use connection::{Acceptor, Connection};

/// Answer to a token of this fleet that has expired.
const EXPIRED: &str = "Bearer error=\"invalid_token\", error_description=\"expired\"";
/// Largest frame of a client, in bytes.
const MAX_FRAME: usize = 64 << 10;
/// Bytes read at once from a WebSocket. Each connection has a buffer of this size, and the library fills it with zeros before each read (128 KiB by default).
const READ: usize = 4 << 10;
/// How long a request waits for a new key of the token's issuer.
const KEYS: Duration = Duration::from_secs(1);

/// The caller, as the access token names it. Nothing that the client claims counts.
struct Caller {
    /// The route of the account.
    route: Route,
    /// How long the token still lasts.
    lasts: Duration,
}

/// How long a WebSocket may last whose token ends at `expires`. A token that has ended is still accepted for [`LEEWAY`], because clocks differ. Its WebSocket
/// gets what is left of that time, not the whole of it again: a thief would otherwise keep the connection for twice as long.
fn lasts(expires: u64, now: u64) -> Duration {
    let end = if now < expires { expires } else { expires.saturating_add(LEEWAY) };
    Duration::from_secs(end.saturating_sub(now))
}

async fn caller(shared: &Shared, headers: &HeaderMap) -> Result<Caller, Response> {
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
        Ok(c) => {
            let route = statement::route(&c.subject.issuer, &c.subject.subject);
            Ok(Caller { route, lasts: lasts(c.expires, now) })
        }
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
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let address = shared.proxies.client(connection.sender, &headers);
    if !shared.may_call(address) {
        return busy(TOO_MANY);
    }
    let Caller { route, lasts } = match caller(&shared, &headers).await {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    if !shared.may_send(&route) {
        return busy(TOO_MANY);
    }
    if shared.drain.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    // A proxy's connection carries requests of many clients. Count the WebSocket for the client behind it.
    let at_address = if connection.is_counted() { None } else { Some(shared.enter(address)) };
    if matches!(at_address, Some(None)) {
        return busy("too many connections of this address\n");
    }
    let Some(entered) = shared.connect(route) else {
        return busy("too many connections of this account\n");
    };
    // axum starts the task. `running` counts it in the group until the task has ended or the upgrade has failed.
    let running = shared.websockets.token();
    let upgrade = upgrade.read_buffer_size(READ).max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME);
    upgrade.on_upgrade(move |socket| async move {
        relay::serve(socket, shared, route, lasts).await;
        drop((connection, at_address, entered, running));
    })
}

/// `?not=eu-west,us-east`: a client found the bundles of these regions wrong and wants another region's.
#[derive(Deserialize)]
struct Wish {
    #[serde(default)]
    not: String,
}

/// The fleet's documents. They come from memory and cost less than a refusal, so a request does not draw on the budget for connecting. Otherwise a client
/// that floods ChatD with such requests could keep others at its address from connecting. Each connection gets only [`connection::ANSWERS`] of them. A trusted proxy's connections are not counted,
/// so there a request draws on a budget of its own at the forwarded address.
async fn fleet_route(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Arc<Connection>>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Response {
    if !connection.is_counted() && !shared.may_fetch(shared.proxies.client(connection.sender, &headers)) {
        return busy(TOO_MANY);
    }
    let not: Vec<&str> = wish.not.split(',').collect();
    let Some(bundle) = shared.bundles.get(&not).await else {
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
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
) -> Response {
    if !shared.may_call(shared.proxies.client(connection.sender, &headers)) {
        return busy(TOO_MANY);
    }
    match caller(&shared, &headers).await {
        Ok(Caller { route, .. }) if !shared.may_send(&route) => busy(TOO_MANY),
        Ok(Caller { route, .. }) => Json(shared.metadata.account(&route).await).into_response(),
        Err(refused) => refused,
    }
}

/// Closes a connection after its last answer. A new one costs a handshake and draws on the budget of its address, so a client can't make ChatD answer
/// without end.
async fn bounded(
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS && connection.was_last_answer() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Listens on the public port until `stop`.
pub fn listen(
    shared: Arc<Shared>,
    at: &Listen,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    tasks: &Tasks,
) -> std::io::Result<SocketAddr> {
    let listener = bind(at.public)?;
    let bound = listener.local_addr()?;
    let app = Router::new()
        .route("/v1/relay", get(relay_route))
        .route("/v1/fleet", get(fleet_route))
        .route("/v1/account", get(account_route))
        .layer(middleware::from_fn(bounded))
        .with_state(shared.clone());
    let acceptor = Acceptor { shared, tls: TlsAcceptor::from(tls), app, proxy_protocol: at.proxy_protocol };
    let serve = move |(stream, peer): (TcpStream, SocketAddr)| acceptor.accept(stream, peer.ip());
    let connections = tasks.group("client connections");
    tasks.group("public listener").spawn(accept(listener, stop, connections, serve));
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client opens a WebSocket at any second at which its token is accepted.
    #[test]
    fn s17_a_token_that_has_ended_gets_no_second_leeway() {
        let expires = 1000;
        for now in 0..expires + LEEWAY {
            let end = now + lasts(expires, now).as_secs();
            let latest = if now < expires { expires } else { expires + LEEWAY };
            assert!(now < end && end <= latest, "opened at {now}, ends at {end}");
        }
    }
}
