//! HTTP/1.1 over one accepted connection, with a deadline for each request's headers. axum::serve and hyper's default builder have no such deadline,
//! so a silent client would hold its connection for ever.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::{AtMost, accept};
use crate::bind;

/// Deadline for the headers of each request on a port without TLS. A slower client is disconnected.
const HEADERS: Duration = Duration::from_secs(10);
/// Limit of open connections on a port without TLS. Every pod in the cluster can connect, and each connection costs memory.
const AT_ONCE: usize = 64;

/// Serves one connection until the client closes it or sends no headers for `headers`. The client may upgrade it to another protocol.
pub async fn serve<S>(stream: S, app: Router, headers: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(headers);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

/// Serves `app` (probes and metrics) without TLS until `stop`. Returns the bound address once it listens.
pub fn plain(
    address: SocketAddr,
    app: Router,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> io::Result<SocketAddr> {
    let listener = bind(address)?;
    let bound = listener.local_addr()?;
    serve_plain(listener, app, stop, tasks);
    Ok(bound)
}

/// The same over a port that is bound already.
pub fn serve_plain(listener: TcpListener, app: Router, stop: CancellationToken, tasks: &TaskTracker) {
    let serve = move |((stream, _), permit)| {
        let app = app.clone();
        Some(async move {
            let _permit = permit;
            serve(stream, app, HEADERS).await;
        })
    };
    tasks.spawn(accept(AtMost::new(listener, AT_ONCE), stop, tasks.clone(), serve));
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn app() -> Router {
        Router::new().route("/livez", get(|| async { "ok\n" }))
    }

    /// Time is paused. Tokio advances it to the deadline as soon as no task can run.
    #[tokio::test(start_paused = true)]
    async fn a_client_without_headers_is_disconnected() {
        let (mut client, server) = duplex(1024);
        client.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        serve(server, app(), HEADERS).await;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
    }

    #[tokio::test]
    async fn a_plain_port_answers_and_ends() {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let address = plain("127.0.0.1:0".parse().unwrap(), app(), stop.clone(), &tasks).unwrap();
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut head = [0; 15];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
