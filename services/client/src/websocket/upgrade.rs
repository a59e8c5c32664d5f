//! Opens a WebSocket (RFC 6455) by the HTTP client that also sends the GETs, so that both take the same proxy, addresses and certificates.

use reqwest::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{RequestBuilder, Response, StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// What ChatD, or a proxy in its place, answered.
pub(super) enum Answer {
    /// The socket.
    Open(WebSocketStream<Upgraded>),
    /// Another status than 101.
    Refused(Response),
    /// A status of 101 that a WebSocket server does not send (RFC 6455, section 4.1).
    NoWebSocket(HeaderName),
}

/// Asks for a WebSocket and checks the answer.
pub(super) async fn upgrade(request: RequestBuilder, config: WebSocketConfig) -> reqwest::Result<Answer> {
    let key = generate_key();
    let answer = request
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .send()
        .await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answer::Refused(answer));
    }
    let is = |header: HeaderName, wanted: &str| {
        answer.headers().get(header).is_some_and(|value| value.as_bytes() == wanted.as_bytes())
    };
    if !answer.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
    {
        return Ok(Answer::NoWebSocket(UPGRADE));
    }
    if !is(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes())) {
        return Ok(Answer::NoWebSocket(SEC_WEBSOCKET_ACCEPT));
    }
    let socket = answer.upgrade().await?;
    Ok(Answer::Open(WebSocketStream::from_raw_socket(socket, Role::Client, Some(config)).await))
}
