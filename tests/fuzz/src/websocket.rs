//! A client on its WebSocket to a real ChatD, whose vaults are real too. It has a valid token.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arbitrary::Arbitrary;
use bkv_config::chatd::{Config, KeySource, Limits, Listen, Tls, Tokens, Web};
use bkv_mtls::issue::WebCa;
use bkv_mtls::{Role, RoleName};
use bkv_simulation::documents::{ISSUER, region};
use bkv_simulation::ports;
use bkv_tokens::dev::DevClaims;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_util::sync::CancellationToken;

use crate::frames::{Sent, encoded, hello};
use crate::process::soon;
use crate::relay::Relays;
use crate::target::Target;
use crate::vaults::Vaults;

const DAY: Duration = Duration::from_hours(24);
/// Most messages of one input.
const MESSAGES: usize = 24;
/// The number of the honest ping.
const PING: u64 = 0x686f_6e65_7374;

/// A message of the client.
#[derive(Arbitrary, Debug)]
pub enum Said {
    Frame(Sent),
    Text(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
    /// More than a message may have.
    Long(u32),
}

/// The vaults, and the ChatD before them.
pub struct Websocket(Vaults, Chatd);

impl Target for Websocket {
    type Message = Said;
    const TOKENS: bool = true;

    async fn begin(share: u32) -> Self {
        let vaults = Vaults::begin(share).await;
        let relays = Relays::listen(&vaults).await;
        let chatd = Chatd::start(&vaults, &relays).await;
        Self(vaults, chatd)
    }

    async fn input(&mut self, said: &[Said]) -> bool {
        self.1.input(&self.0, said).await;
        self.0.check().await;
        true
    }

    async fn end(self) {
        self.0.sim.down().await;
    }
}

pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A ChatD.
pub struct Chatd {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Chatd {
    /// Starts it in front of the vaults and waits until it serves.
    pub async fn start(vaults: &Vaults, relays: &Relays) -> Self {
        let sim = &vaults.sim;
        let folder = sim.dir.join("chatd");
        std::fs::create_dir(&folder).unwrap();
        let name = RoleName::new(Role::Chatd, "chatd").unwrap();
        let files = sim.roles.write_role(&folder, &name, DAY).unwrap();
        let web = WebCa::generate().unwrap();
        let issued = web.issue(&["127.0.0.1"], DAY).unwrap();
        let (cert, key) = (folder.join("web.crt"), folder.join("web.key"));
        std::fs::write(&cert, issued.certificate.as_bytes()).unwrap();
        std::fs::write(&key, issued.key.as_bytes()).unwrap();
        let free = ports::free(2);
        let [address, health] = [free[0], free[1]].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let plenty = 1 << 30;
        let config = Config {
            listen: Listen { public: address, health, trusted_proxies: Vec::new(), proxy_protocol: false },
            web: Web { cert, key },
            tls: Tls { cert: files.certificate, key: files.key, ca: files.ca },
            tokens: Tokens {
                issuer: ISSUER.into(),
                audience: "chatd".into(),
                ca_file: None,
                keys: KeySource::Inline(sim.issuer.jwks()),
            },
            vaults: relays
                .addresses
                .iter()
                .enumerate()
                .map(|(i, a)| (region(i), a.to_string()))
                .collect::<BTreeMap<_, _>>(),
            postgres: None,
            // The fuzzer is one address and sends more than any client.
            limits: Limits {
                connections_per_account: 1000,
                frames_per_second: plenty,
                frames_burst: plenty,
                address_per_second: plenty,
                address_burst: plenty,
                ..Limits::default()
            },
        };
        tokio::spawn(async {
            let ended = bkv_chatd::run::run(config, CancellationToken::new()).await;
            panic!("ChatD ended: {ended:?}");
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(web.certificate_pem().as_bytes()).unwrap()).unwrap();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let chatd = Self { address, tls: TlsConnector::from(Arc::new(tls)) };
        let until = soon();
        while chatd.connect(vaults).await.is_none() {
            assert!(Instant::now() < until, "ChatD does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        chatd
    }

    async fn connect(&self, vaults: &Vaults) -> Option<Socket> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims =
            DevClaims { subject: &vaults.person, audience: "chatd", now, lifetime: 3600, enrolment: None };
        let stream = TcpStream::connect(self.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream =
            timeout_at(soon(), self.tls.connect(name, stream)).await.expect("a handshake hangs").ok()?;
        let mut request = "wss://127.0.0.1/v1/relay".into_client_request().unwrap();
        let bearer = format!("Bearer {}", vaults.sim.issuer.sign(&claims)).parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let upgraded = timeout_at(soon(), tokio_tungstenite::client_async(request, stream)).await;
        Some(upgraded.expect("the upgrade hangs").ok()?.0)
    }

    /// One input on one connection. Then ChatD must answer a new one.
    pub async fn input(&self, vaults: &Vaults, said: &[Said]) {
        let mut socket = self.connect(vaults).await.expect("ChatD refuses a connection");
        for said in said.iter().take(MESSAGES) {
            let message = match said {
                Said::Frame(sent) => Message::Binary(encoded(vaults, sent, 3).into()),
                Said::Text(text) => Message::Text(String::from_utf8_lossy(text).as_ref().into()),
                Said::Ping(bytes) => Message::Ping(short(bytes)),
                Said::Pong(bytes) => Message::Pong(short(bytes)),
                Said::Close(code) => {
                    Message::Close(Some(CloseFrame { code: (*code).into(), reason: "".into() }))
                }
                Said::Long(n) => Message::Binary(vec![0; (*n as usize) % (256 << 10)].into()),
            };
            if timeout_at(soon(), socket.send(message)).await.expect("ChatD does not read").is_err() {
                break;
            }
        }
        self.serves(vaults, socket).await;
    }

    /// A connection with a stream to a vault, of none of these regions.
    pub async fn with_stream(&self, vaults: &Vaults, not: &[String]) -> Socket {
        let mut socket = self.connect(vaults).await.expect("ChatD refuses a connection");
        let open = o::Open { not: not.to_vec(), ..o::Open::default() };
        for body in [Body::Open(open), Body::Data(hello().into())] {
            let frame = o::Frame { stream: 1, body: Some(body) };
            let sent = socket.send(Message::Binary(frame.encode_to_vec().into()));
            timeout_at(soon(), sent).await.expect("ChatD does not read").expect("ChatD ends a connection");
        }
        socket
    }

    /// ChatD answers on this connection, or on a new one if it has ended this one.
    pub async fn serves(&self, vaults: &Vaults, mut socket: Socket) {
        if !answers(&mut socket).await {
            let mut socket = self.connect(vaults).await.expect("ChatD refuses a new connection");
            assert!(answers(&mut socket).await, "ChatD does not answer");
        }
    }
}

/// Control frames have at most 125 bytes.
fn short(bytes: &[u8]) -> Bytes {
    bytes.iter().copied().take(125).collect::<Vec<_>>().into()
}

/// True if the honest ping is answered, false if the connection has ended.
async fn answers(socket: &mut Socket) -> bool {
    let ping = o::Frame { stream: 0, body: Some(Body::Ping(o::Ping { id: PING })) };
    if socket.send(Message::Binary(ping.encode_to_vec().into())).await.is_err() {
        return false;
    }
    let until = soon();
    loop {
        match timeout_at(until, socket.next()).await.expect("ChatD hangs") {
            Some(Ok(Message::Binary(bytes))) => match o::Frame::decode(bytes).expect("a frame").body {
                Some(Body::Pong(pong)) if pong.id == PING => return true,
                _ => {}
            },
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return false,
        }
    }
}
