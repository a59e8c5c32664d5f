//! A client that sends any frames of the outer protocol, valid or not, and any requests of the inner channel over it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bkv_core::id::Time;
use bkv_wire::channel::{Channel, ClientSettings};
use bkv_wire::documents::{self, Root};
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use bkv_wire::proto::outer::frame::Body;
use bkv_wire::proto::outer::reset::Reason;
use bkv_wire::proto::outer::{self as o};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::Fleet;

/// The deadline of every wait here.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A ChatD's endpoint: its port, and the authority of its certificate.
#[derive(Clone)]
pub struct Endpoint {
    /// Its public port.
    pub port: u16,
    tls: Arc<rustls::ClientConfig>,
    /// Sent before the TLS handshake.
    proxy_header: Vec<u8>,
    /// Lines of every request's head.
    headers: String,
}

impl Endpoint {
    /// ChatD on a port of this machine.
    pub fn new(ca: &Path, port: u16) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).expect("the CA's file") {
            roots.add(certificate.expect("PEM")).expect("a CA");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { port, tls: Arc::new(tls), proxy_header: Vec::new(), headers: String::new() }
    }

    /// With a PROXY header of version 2 that names this client.
    #[must_use]
    pub fn with_proxy_header(&self, client: [u8; 4]) -> Self {
        let fixed = *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c";
        let ends = [client, [127, 0, 0, 1]].concat();
        let ports = [4711u16.to_be_bytes(), self.port.to_be_bytes()].concat();
        Self { proxy_header: [&fixed[..], &ends, &ports].concat(), ..self.clone() }
    }

    /// With X-Forwarded-For in every request.
    #[must_use]
    pub fn forwarded_for(&self, addresses: &str) -> Self {
        Self { headers: format!("X-Forwarded-For: {addresses}\r\n"), ..self.clone() }
    }

    async fn tls(&self, window: Option<u32>) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = window {
            socket.set_recv_buffer_size(bytes)?;
        }
        let mut tcp = socket.connect(([127, 0, 0, 1], self.port).into()).await?;
        tcp.write_all(&self.proxy_header).await?;
        TlsConnector::from(self.tls.clone())
            .connect(ServerName::try_from("127.0.0.1").expect("a name"), tcp)
            .await
    }

    /// `GET path`: status and body.
    pub async fn get(&self, path: &str, token: Option<&str>) -> (u16, Vec<u8>) {
        let work = async {
            let mut tls = self.tls(None).await?;
            let token = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
            let more = &self.headers;
            let head =
                format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}{more}Connection: close\r\n\r\n");
            tls.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            let _ = tls.read_to_end(&mut answer).await;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(PATIENCE, work).await.expect("an answer in time").expect("a connection");
        let at = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        let (head, body) = answer.split_at(at);
        let status = String::from_utf8_lossy(head).split(' ').nth(1).and_then(|s| s.parse().ok());
        (status.expect("a status"), body.get(4..).unwrap_or_default().to_vec())
    }

    /// Sends `GET path` without a token this many times on one connection, without waiting for answers. Returns the statuses of all answers until ChatD
    /// closes the connection. None if ChatD refused the connection.
    pub async fn flood(&self, path: &str, requests: usize) -> Option<Vec<u16>> {
        let work = async {
            let (mut read, mut write) = tokio::io::split(self.tls(None).await.ok()?);
            let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n", self.headers);
            let last = head.replace("Host", "Connection: close\r\nHost");
            let all = head.repeat(requests - 1) + &last;
            let mut answers = Vec::new();
            // ChatD may close before it has read everything.
            let (_, _) = tokio::join!(write.write_all(all.as_bytes()), read.read_to_end(&mut answers));
            let text = String::from_utf8_lossy(&answers);
            let statuses = text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok());
            Some(statuses.collect())
        };
        timeout(PATIENCE, work).await.expect("the end of a flood in time")
    }

    /// What ChatD reports about the token's account.
    pub async fn account(&self, token: &str) -> serde_json::Value {
        let (status, body) = self.get("/v1/account", Some(token)).await;
        assert_eq!(status, 200);
        serde_json::from_slice(&body).expect("JSON")
    }

    /// `GET /v1/relay`. The error is the status of a refusal, or 0 without a connection.
    pub async fn relay(&self, token: &str) -> Result<Raw, u16> {
        self.relay_with(token, None).await
    }

    /// The same with a receive window, for a client that does not read.
    pub async fn relay_with(&self, token: &str, window: Option<u32>) -> Result<Raw, u16> {
        let tls = timeout(PATIENCE, self.tls(window)).await.map_err(|_| 0u16)?.map_err(|_| 0u16)?;
        let mut request = "wss://127.0.0.1/v1/relay".into_client_request().expect("a request");
        let value = format!("Bearer {token}").parse().expect("a header");
        request.headers_mut().insert("authorization", value);
        match timeout(PATIENCE, tokio_tungstenite::client_async(request, tls)).await {
            Ok(Ok((socket, _))) => Ok(Raw { socket }),
            Ok(Err(WsError::Http(answer))) => Err(answer.status().as_u16()),
            _ => Err(0),
        }
    }
}

impl Fleet {
    /// Its own ChatD.
    pub fn endpoint(&self) -> Endpoint {
        let port = self.plan().get("chatd").and_then(serde_json::Value::as_u64).expect("ChatD's port");
        Endpoint::new(&self.dir().join("chatd/web-ca.crt"), u16::try_from(port).expect("a port"))
    }

    /// The pinned root.
    pub fn root(&self) -> Root {
        Root::decode(&std::fs::read(self.dir().join("root.bin")).expect("root.bin")).expect("a root")
    }

    /// The fleet's documents from ChatD.
    pub async fn documents(&self) -> bkv_core::document::Documents {
        let (status, bundle) = self.endpoint().get("/v1/fleet", None).await;
        assert_eq!(status, 200);
        let bundle = o::Bundle::decode(&bundle[..]).expect("a bundle");
        documents::bundle(&self.root(), &bundle.admission, &bundle.policy, None::<Time>).expect("signed")
    }

    /// The vault identities that an inner channel accepts.
    pub async fn identities(&self) -> ClientSettings {
        let members = self.documents().await.admission.members;
        ClientSettings::new(members.into_iter().map(|m| m.identity).collect()).expect("identities")
    }
}

/// One WebSocket.
pub struct Raw {
    /// The connection below the frames.
    pub socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Raw {
    /// Sends a frame. False if the connection is gone.
    pub async fn send(&mut self, stream: u64, body: Body) -> bool {
        let frame = o::Frame { stream, body: Some(body) };
        self.message(Message::Binary(frame.encode_to_vec().into())).await
    }

    /// Sends any message.
    pub async fn message(&mut self, message: Message) -> bool {
        self.socket.send(message).await.is_ok()
    }

    /// The next frame. None once the connection has ended.
    pub async fn next(&mut self) -> Option<o::Frame> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame or the end, in time") {
                Some(Ok(Message::Binary(bytes))) => {
                    let frame = o::Frame::decode(bytes).expect("a frame");
                    // Comes before a stream's first data. No test here needs it.
                    if !matches!(frame.body, Some(Body::Relayed(_))) {
                        return Some(frame);
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// All frames until the end.
    pub async fn rest(&mut self) -> Vec<o::Frame> {
        let mut frames = Vec::new();
        while let Some(f) = self.next().await {
            frames.push(f);
        }
        frames
    }

    /// Whether ChatD still answers on this connection.
    pub async fn alive(&mut self) -> bool {
        if !self.send(0, Body::Ping(o::Ping { id: 77 })).await {
            return false;
        }
        while let Some(f) = self.next().await {
            if f.body == Some(Body::Pong(o::Pong { id: 77 })) {
                return true;
            }
        }
        false
    }
}

/// The end of a request in a channel.
#[derive(Debug)]
pub enum Answer {
    /// A reply, with its size in bytes as ChatD relays it.
    Reply(p::Reply, usize),
    /// The end of the stream, with ChatD's reason.
    End(Option<Body>),
}

impl Answer {
    /// Whether the shard's leadership moved meanwhile. A slow machine may cause an election at any moment; a client repeats the request on another stream.
    pub fn moved(&self) -> bool {
        matches!(self, Self::End(Some(end)) if moved(end))
    }
}

fn moved(end: &Body) -> bool {
    matches!(end, Body::Reset(r) if matches!(r.reason(), Reason::LeaderMoved | Reason::VaultLost | Reason::NoLeader))
}

/// The inner channel on one stream.
pub struct Inner {
    stream: u64,
    channel: Channel,
    id: u64,
}

impl Inner {
    /// Opens a stream and makes the handshake. While the shard's leadership moves it repeats that on further streams.
    pub async fn open(raw: &mut Raw, stream: u64, settings: &ClientSettings) -> Result<Self, Option<Body>> {
        let until = Instant::now() + PATIENCE;
        let mut opened = Self::open_once(raw, stream, settings).await;
        for further in 1u64.. {
            match &opened {
                Err(Some(end)) if moved(end) && Instant::now() < until => {
                    opened = Self::open_once(raw, stream + (further << 32), settings).await;
                }
                _ => break,
            }
        }
        opened
    }

    async fn open_once(raw: &mut Raw, stream: u64, settings: &ClientSettings) -> Result<Self, Option<Body>> {
        let mut channel = Channel::client(settings).expect("a channel");
        raw.send(stream, Body::Open(o::Open::default())).await;
        raw.send(stream, Body::Data(channel.take_outgoing().into())).await;
        let mut inner = Self { stream, channel, id: 0 };
        while !inner.channel.is_ready() {
            match raw.next().await {
                Some(o::Frame { body: Some(Body::Data(data)), stream: of }) if of == stream => {
                    inner.channel.feed(&data).expect("a vault of the fleet");
                }
                Some(f) if f.stream != stream => {}
                other => return Err(other.and_then(|f| f.body)),
            }
        }
        Ok(inner)
    }

    /// The identity of the vault that answers, as SubjectPublicKeyInfo (DER).
    pub fn vault(&self) -> &[u8] {
        self.channel.peer_spki().expect("a finished handshake")
    }

    /// Sends one request and waits for the reply.
    pub async fn ask(&mut self, raw: &mut Raw, operation: Operation) -> Answer {
        self.id += 1;
        let request = p::Request { protocol: 1, id: self.id, operation: Some(operation) };
        self.channel.send(&request.encode_to_vec()).expect("to send");
        raw.send(self.stream, Body::Data(self.channel.take_outgoing().into())).await;
        let mut size = 0;
        loop {
            match raw.next().await {
                Some(o::Frame { body: Some(Body::Data(data)), stream }) if stream == self.stream => {
                    size += data.len();
                    self.channel.feed(&data).expect("the vault's bytes");
                    if let Ok(Some(message)) = self.channel.next_message() {
                        return Answer::Reply(p::Reply::decode(&message[..]).expect("a reply"), size);
                    }
                }
                Some(f) if f.stream != self.stream => {}
                other => return Answer::End(other.and_then(|f| f.body)),
            }
        }
    }

    /// Opens a stream and sends `Open` with a valid token. Repeats both while the shard's leadership moves.
    pub async fn entered(raw: &mut Raw, stream: u64, settings: &ClientSettings, token: &str) -> Self {
        let until = Instant::now() + PATIENCE;
        for further in 0u64.. {
            let mut inner = Self::open(raw, stream + (further << 48), settings).await.expect("a channel");
            match inner.enter(raw, token).await {
                Answer::Reply(..) => return inner,
                answer @ Answer::End(_) => assert!(answer.moved() && Instant::now() < until, "{answer:?}"),
            }
        }
        unreachable!("the deadline ends the loop")
    }

    /// `Open` with a token.
    pub async fn enter(&mut self, raw: &mut Raw, token: &str) -> Answer {
        let open = p::Open {
            token: token.to_owned(),
            nonce: vec![7; 32].into(),
            attest: false,
            all: false,
            proof: None,
        };
        self.ask(raw, Operation::Open(open)).await
    }
}
