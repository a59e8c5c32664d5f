//! HTTP below OpenDAL, with bounds: on the time without progress, and on the size of an answer. It notes each refusal for the errors.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use jiff::Timestamp;
use opendal_core::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use tokio::time::{Instant, sleep};

use crate::answer::{Answer, Broken, limit};
use crate::hrefs::Within;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time in which no byte moves, but for the answer to an upload.
const STALL: Duration = Duration::from_mins(1);
/// Bytes a second of the slowest line that an upload may go through.
const SLOWEST: u64 = 32 << 10;
/// An object has at most 32 MiB. A list of one WebDAV folder may have more.
const LARGEST: usize = 128 << 20;
/// So much of a body counts as progress.
const PIECE: usize = 64 << 10;

/// Sends OpenDAL's requests.
pub(crate) struct Transport {
    client: reqwest::Client,
    /// Of a WebDAV server.
    within: Option<Within>,
}

impl Transport {
    /// A proxy of the environment is asked to connect to an `https` server, and never reads what goes through it. Without TLS it would.
    pub(crate) fn new(
        tls: rustls::ClientConfig,
        is_https: bool,
        within: Option<Within>,
    ) -> Result<Self, reqwest::Error> {
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // Credentials go nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .user_agent(concat!("bkv/", env!("CARGO_PKG_VERSION")));
        if !is_https {
            client = client.no_proxy();
        }
        Ok(Self { client: client.build()?, within })
    }

    async fn exchange(&self, request: Request<Buffer>, moved: &Moved) -> Result<Response<Bytes>, Answer> {
        let (mut parts, body) = request.into_parts();
        // OpenDAL always allows it. An object must not replace another one.
        if self.within.is_some() && parts.method.as_str() == "MOVE" {
            parts.headers.insert("overwrite", http::HeaderValue::from_static("F"));
        }
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|e| Answer::broken(Broken::Network, &e.to_string()))?;
        let mut sent = self.client.request(parts.method.clone(), url).headers(parts.headers);
        if !body.is_empty() {
            sent = sent.body(reqwest::Body::wrap(Paced { rest: body.to_bytes(), moved: moved.clone() }));
        }
        let mut answer = sent.send().await.map_err(|e| broken(&e))?;
        moved.now();
        moved.0.sent.store(false, Ordering::Relaxed);
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        let most = limit().filter(|_| status.is_success()).unwrap_or(usize::MAX);
        let mut body = BytesMut::new();
        while body.len() < most
            && let Some(chunk) = answer.chunk().await.map_err(|e| broken(&e))?
        {
            moved.now();
            if body.len() + chunk.len() > LARGEST {
                return Err(Answer::broken(Broken::TooLarge, "the answer is too large"));
            }
            body.extend_from_slice(&chunk);
        }
        body.truncate(most);
        let mut body = body.freeze();
        if let (Some(within), StatusCode::MULTI_STATUS) = (&self.within, status) {
            let paths = within.paths(&String::from_utf8_lossy(&body));
            let why = "it lists paths outside of the folder that was asked for";
            body = Bytes::from(paths.ok_or_else(|| Answer::broken(Broken::Foreign, why))?);
        }
        let mut whole = Response::new(body);
        *whole.status_mut() = status;
        *whole.headers_mut() = headers;
        // OpenDAL shows it in its errors.
        whole.extensions_mut().insert(parts.uri);
        Ok(whole)
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal_core::Result<Response<HttpBody>> {
        let moved = Moved::new(request.body().len());
        let is_head = request.method() == Method::HEAD;
        let answered = tokio::select! {
            answered = self.exchange(request, &moved) => answered,
            () = moved.stalls() => {
                Err(Answer::broken(Broken::Network, "it has stopped answering"))
            }
        };
        let answer = answered.map_err(|why| {
            let error = Error::new(ErrorKind::Unexpected, why.text.clone());
            why.note();
            error.set_temporary()
        })?;
        if answer.status().is_success() {
            Answer::default().note();
        } else {
            refusal(&answer).note();
        }
        let size = (!is_head).then_some(answer.body().len() as u64);
        Ok(answer.map(|body| HttpBody::new(stream::iter([Ok(Buffer::from(body))]), size)))
    }
}

fn refusal(answer: &Response<Bytes>) -> Answer {
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let mut note = Answer::new(answer.status().as_u16(), answer.body());
    note.ahead = ahead(answer.headers());
    note.region = header("x-amz-bucket-region").map(str::to_owned).or(note.region);
    if answer.status().is_redirection()
        && let Some(to) = header("location")
    {
        note.text = to.chars().filter(|c| !c.is_control()).take(200).collect();
    }
    note
}

/// By how many seconds the server's clock is ahead.
fn ahead(headers: &HeaderMap) -> Option<i64> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(date.timestamp().as_second() - Timestamp::now().as_second())
}

fn broken(error: &reqwest::Error) -> Answer {
    let mut text = String::new();
    let mut tls = false;
    // The outermost texts name the URL only.
    let mut source = error.source();
    while let Some(inner) = source {
        tls |= is_tls(inner);
        text = inner.to_string();
        source = inner.source();
    }
    if text.is_empty() {
        text = if error.is_timeout() { "it took too long".into() } else { "the connection failed".into() };
    }
    Answer::broken(if tls { Broken::Tls } else { Broken::Network }, &text)
}

/// An I/O error does not name what it wraps among its sources.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = || error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped().is_some_and(|inner| is_tls(inner))
}

/// How long the answer to an upload may take. The system has taken some MiB of it that a slow line still has to carry, and a server may pass it on before it answers.
fn patience(bytes: usize) -> Duration {
    STALL * 2 + Duration::from_secs(bytes as u64 / SLOWEST)
}

/// When the last byte moved.
#[derive(Clone)]
struct Moved(Arc<State>);

struct State {
    begun: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
    /// The body is in the system's hands.
    sent: AtomicBool,
    patience: Duration,
}

impl Moved {
    fn new(bytes: usize) -> Self {
        let state = State {
            begun: Instant::now(),
            last: AtomicU64::new(0),
            sent: AtomicBool::new(false),
            patience: patience(bytes),
        };
        Self(Arc::new(state))
    }

    fn now(&self) {
        let since = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(since, Ordering::Relaxed);
    }

    /// Returns when nothing has moved for too long.
    async fn stalls(&self) {
        loop {
            let last = Duration::from_millis(self.0.last.load(Ordering::Relaxed));
            let most = if self.0.sent.load(Ordering::Relaxed) { self.0.patience } else { STALL };
            let quiet = self.0.begun.elapsed().saturating_sub(last);
            if quiet >= most {
                return;
            }
            sleep(STALL.min(most.saturating_sub(quiet))).await;
        }
    }
}

/// A body in pieces, so that a slow upload is told apart from one that has stopped.
struct Paced {
    rest: Bytes,
    moved: Moved,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.moved.now();
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let most = PIECE.min(self.rest.len());
        let is_last = most == self.rest.len();
        self.moved.0.sent.store(is_last, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(most)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upload_is_awaited_longer_than_a_server_that_says_nothing() {
        let elapsed = |moved: Moved| async move {
            let begun = Instant::now();
            moved.stalls().await;
            begun.elapsed()
        };
        let quiet = Moved::new(32 << 20);
        assert_eq!(elapsed(quiet.clone()).await.as_secs(), 60);
        quiet.now();
        assert_eq!(elapsed(quiet.clone()).await.as_secs(), 60);
        let sent = Moved::new(32 << 20);
        sent.0.sent.store(true, Ordering::Relaxed);
        assert_eq!(elapsed(sent).await.as_secs(), 120 + 1024);
    }
}
