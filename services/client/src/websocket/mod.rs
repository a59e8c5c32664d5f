//! The shipped transport: one WebSocket over TLS per account, many streams in it. One task owns the socket ([`link`]); streams reach it over
//! bounded channels, so a slow reader blocks only itself. It takes the proxy that `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name.

mod link;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bkv_wire::proto::outer::{Frame, frame::Body};
use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode, Url};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::BuilderVerifierExt as _;
use thiserror_ext::AsReport as _;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::token::{HeldToken, OneToken, Tokens};
use crate::transport::{Duplex, Transport, TransportError};
use link::Link;
use upgrade::{Answer, upgrade};

/// Most bytes of an answer to a GET, and of a WebSocket message.
const MAX_MESSAGE: usize = bkv_wire::frame::MAX_FRAME;
/// Bytes read at once. The library fills as many with zeros before each read.
const READ: usize = 4 << 10;
/// For TCP, TLS and the WebSocket's handshake together.
const CONNECT: Duration = Duration::from_secs(5);

/// Which web certificates ChatD may show. (ChatD is not trusted with anything but availability and metadata; TLS to it keeps those private.)
#[derive(Debug, Clone)]
pub enum Trust {
    /// The authorities that this machine trusts.
    System,
    /// These authorities only, PEM: a fleet's own.
    Pem(Vec<u8>),
}

/// To one ChatD, with one account's token. Dropping it ends its tasks. [`Transport::close`] also awaits them.
pub struct WebSocketTransport {
    base: Url,
    token: HeldToken,
    http: reqwest::Client,
    link: Mutex<Option<Arc<Link>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl WebSocketTransport {
    /// `base`: `https://host:port`. `token`: the JWT with ChatD's audience.
    ///
    /// # Errors
    /// [`TransportError::Misconfigured`], which names the faulty argument.
    pub fn new(base: &str, trust: &Trust, token: &Zeroizing<String>) -> Result<Self, TransportError> {
        header(token)?;
        Self::with_tokens(base, trust, Arc::new(OneToken(token.clone())))
    }

    /// The same with a source of tokens with ChatD's audience. ChatD ends a connection when its token ends. The next one takes a fresh token.
    ///
    /// # Errors
    /// [`TransportError::Misconfigured`], which names the faulty argument.
    pub fn with_tokens(base: &str, trust: &Trust, tokens: Arc<dyn Tokens>) -> Result<Self, TransportError> {
        let base = Url::parse(base).map_err(|e| wrong(format!("ChatD's address {base:?}: {e}")))?;
        if base.scheme() != "https" || base.host_str().is_none() {
            return Err(wrong(format!("ChatD's address {base} must begin with https:// and name a host")));
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(trust)?)
            .https_only(true)
            .http1_only() // a WebSocket begins with HTTP/1.1
            .redirect(reqwest::redirect::Policy::none()) // a token goes nowhere else
            .connect_timeout(CONNECT)
            .timeout(CONNECT * 2)
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(Self {
            base,
            token: HeldToken::new(tokens),
            http,
            link: Mutex::new(None),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// The header with the token in use.
    async fn bearer(&self) -> Result<HeaderValue, TransportError> {
        let token = self.token.get().await.map_err(|e| TransportError::Unreachable(e.to_string()))?;
        header(&token)
    }

    /// Gets a token in place of one that ChatD no longer accepts. False if there is no other.
    async fn renewed(&self) -> bool {
        self.token.renew().await.unwrap_or(false)
    }

    /// Connects, with a fresh token if ChatD finds that the one in use has expired.
    async fn connect(&self) -> Result<Link, TransportError> {
        match self.connect_once().await {
            Err(TransportError::TokenExpired) if self.renewed().await => self.connect_once().await,
            connected => connected,
        }
    }

    async fn connect_once(&self) -> Result<Link, TransportError> {
        let mut url = self.base.clone();
        url.set_path("/v1/relay");
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(READ);
        let request = self.http.get(url).header("authorization", self.bearer().await?);
        match upgrade(request, config).await.map_err(|e| failed(&e))? {
            Answer::Open(socket) => Ok(Link::start(socket, &self.tasks, self.stop.child_token())),
            Answer::Refused(answer) => Err(status(&answer)),
            Answer::NoWebSocket(header) => Err(TransportError::Unreachable(format!(
                "{}: the answer is of no WebSocket server: its header {header} is wrong",
                self.base
            ))),
        }
    }

    async fn get_once(&self, path: &str) -> Result<Bytes, TransportError> {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        let request = self.http.get(url).header("authorization", self.bearer().await?);
        let mut answer = request.send().await.map_err(|e| failed(&e))?;
        if answer.status() != StatusCode::OK {
            return Err(status(&answer));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| failed(&e))? {
            if body.len() + chunk.len() > MAX_MESSAGE {
                return Err(TransportError::Unreachable(format!("{path}: longer than {MAX_MESSAGE} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

#[async_trait]
impl Transport for WebSocketTransport {
    async fn open(&self) -> Result<Box<dyn Duplex>, TransportError> {
        let mut current = self.link.lock().await; // connecting once for all who wait
        if self.stop.is_cancelled() {
            return Err(wrong("this client is closed".into()));
        }
        let link = if let Some(link) = current.as_ref().filter(|link| link.is_alive()) {
            link.clone()
        } else {
            if current.as_ref().is_some_and(|link| link.has_expired()) {
                self.renewed().await;
            }
            let connected = tokio::time::timeout(CONNECT, self.connect()).await;
            let link =
                connected.map_err(|_| TransportError::Unreachable("no connection in time".into()))??;
            current.insert(Arc::new(link)).clone()
        };
        Ok(Box::new(link.stream()))
    }

    async fn get(&self, path: &str) -> Result<Bytes, TransportError> {
        match self.get_once(path).await {
            Err(TransportError::TokenExpired) if self.renewed().await => self.get_once(path).await,
            got => got,
        }
    }

    fn suspect(&self) {
        // If another task is connecting right now, that connection is new anyway.
        if let Ok(mut link) = self.link.try_lock() {
            *link = None;
        }
    }

    async fn close(&self) {
        self.stop.cancel();
        self.link.lock().await.take(); // a connection that is being made is complete by now, and its task ends at once
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn header(token: &Zeroizing<String>) -> Result<HeaderValue, TransportError> {
    let bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
    let mut header = HeaderValue::from_str(&bearer).map_err(|_| wrong("ChatD's token is not one".into()))?;
    header.set_sensitive(true);
    Ok(header)
}

impl Drop for WebSocketTransport {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A stream of a link, seen as frames.
#[async_trait]
impl Duplex for link::Stream {
    async fn send(&mut self, frame: Frame) -> Result<(), TransportError> {
        self.write(frame.body).await
    }

    async fn receive(&mut self) -> Result<Frame, TransportError> {
        let body: Option<Body> = self.read().await?;
        Ok(Frame { stream: 0, body })
    }
}

fn tls(trust: &Trust) -> Result<ClientConfig, TransportError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| wrong(e.to_string()))?;
    Ok(match trust {
        Trust::System => {
            builder.with_platform_verifier().map_err(|e| wrong(e.to_string()))?.with_no_client_auth()
        }
        Trust::Pem(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                // The parser's own text contains a line of the file, which may be a key.
                let certificate = certificate
                    .map_err(|_| wrong("ChatD's authority: not PEM, or cut off or changed".into()))?;
                roots.add(certificate).map_err(|e| wrong(format!("ChatD's authority: {e}")))?;
            }
            if roots.is_empty() {
                return Err(wrong("ChatD's authority: no certificate in it".into()));
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    })
}

fn wrong(why: String) -> TransportError {
    TransportError::Misconfigured(why)
}

/// A request without an answer. A certificate that is not trusted stays so, so no repetition helps.
fn failed(error: &reqwest::Error) -> TransportError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|e| e.downcast_ref::<rustls::Error>()).or_else(|| error.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(why)) = tls {
            return wrong(format!("ChatD's web certificate is not trusted: {why:?}"));
        }
        cause = error.source();
    }
    TransportError::Unreachable(error.to_report_string())
}

/// What an answer without success means. Its WWW-Authenticate (RFC 6750, section 3) distinguishes an expired token from a wrong one.
fn status(answer: &Response) -> TransportError {
    let challenge = answer.headers().get("www-authenticate").and_then(|v| v.to_str().ok());
    match answer.status().as_u16() {
        401 if challenge.is_some_and(|c| c.contains("expired")) => TransportError::TokenExpired,
        401 | 403 => TransportError::TokenRefused,
        404 => wrong("ChatD has no such path: is the address right?".into()),
        code => TransportError::Unreachable(format!("ChatD answered {code}")),
    }
}

impl std::fmt::Debug for WebSocketTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketTransport").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}
