//! Deadlines of one connection. A silent client must not hold it for ever, even after mutual TLS.

use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::timeout;

use super::refusal::Refusal;

/// Time from the handshake, or from the last answer, until the next request's headers are complete. Longer than the clients keep an idle connection.
pub(super) const HEADERS: Duration = Duration::from_secs(30);
/// Time for one request with its body and answer. Longer than making a fleet may take.
const REQUEST: Duration = Duration::from_mins(1);

/// Ends a request that takes too long: a client could send its body at one byte a minute.
pub(super) async fn deadline(request: Request, next: Next) -> Result<Response, Refusal> {
    timeout(REQUEST, next.run(request)).await.map_err(|_| {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "request",
            "the request took too long",
            "repeat the request and send its body at once",
        )
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Bytes;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    fn app() -> Router {
        Router::new()
            .route("/", post(|body: Bytes| async move { body }))
            .layer(axum::middleware::from_fn(deadline))
    }

    /// The server's answer before it closed the connection, and the time until then.
    async fn until_closed(sent: &[u8]) -> (String, Duration) {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let calling = async {
            client.write_all(sent).await.unwrap();
            let begun = Instant::now();
            let mut answer = String::new();
            let read = timeout(10 * REQUEST, client.read_to_string(&mut answer)).await;
            read.expect("the server closes").unwrap();
            (answer, begun.elapsed())
        };
        tokio::join!(calling, bkv_net::http::serve(server, app(), HEADERS)).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed() {
        for silent in [
            &b""[..],
            b"POST / HTTP/1.1\r\nHost: v",
            b"POST / HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n",
        ] {
            let (_, after) = until_closed(silent).await;
            assert!(after < 2 * HEADERS, "{after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_refused() {
        let (answer, after) =
            until_closed(b"POST / HTTP/1.1\r\nHost: v\r\nContent-Length: 9\r\n\r\nabc").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(after < REQUEST + 2 * HEADERS, "{after:?}");
    }
}
