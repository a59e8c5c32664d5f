//! The shipped transport on real sockets: TLS, WebSocket, many streams in one connection, a lost connection.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bkv_client::{
    Client, Clock, Duplex, Error, LastTry, OsRandom, RecoverOptions, Runtime, Time, Timing, Tokens,
    TokioClock, Transport, TransportError, Trust, WebSocketTransport, Zeroizing,
};
use bkv_wire::proto::outer::Frame;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use prost::Message as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::memory_fleet::{MemoryFleet, keys, state::TOKEN};
use crate::recover::{PASSWORD, registered};

struct Chatd {
    url: String,
    ca: Vec<u8>,
    connections: Arc<AtomicUsize>,
    acceptor: TlsAcceptor,
    listener: Arc<TcpListener>,
    tasks: JoinSet<()>,
}

async fn chatd() -> Chatd {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der())),
        )
        .unwrap();
    let listener = Arc::new(TcpListener::bind("localhost:0").await.unwrap());
    Chatd {
        url: format!("https://localhost:{}", listener.local_addr().unwrap().port()),
        ca: cert.pem().into_bytes(),
        connections: Arc::default(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
        listener,
        tasks: JoinSet::new(),
    }
}

impl Chatd {
    /// Relays to the vaults; after `frames` frames of a connection it hangs up.
    fn relay(&mut self, vaults: MemoryFleet, frames: usize) {
        let (listener, acceptor, connections) =
            (self.listener.clone(), self.acceptor.clone(), self.connections.clone());
        self.tasks.spawn(async move {
            let mut relays = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, vaults) = (acceptor.clone(), vaults.clone());
                connections.fetch_add(1, Ordering::SeqCst);
                relays.spawn(async move {
                    let tls = acceptor.accept(tcp).await.unwrap();
                    let mut socket = tokio_tungstenite::accept_async(tls).await.unwrap();
                    let mut streams: HashMap<u64, Box<dyn Duplex>> = HashMap::new();
                    for _ in 0..frames {
                        let Some(Ok(Message::Binary(bytes))) = socket.next().await else { return };
                        let frame = Frame::decode(bytes).unwrap();
                        let number = frame.stream;
                        let stream = match streams.entry(number) {
                            Entry::Occupied(known) => known.into_mut(),
                            Entry::Vacant(new) => {
                                new.insert(vaults.runtime().transport.open().await.unwrap())
                            }
                        };
                        stream.send(frame).await.unwrap();
                        while let Some(Ok(mut answer)) = stream.receive().now_or_never() {
                            answer.stream = number;
                            socket.send(Message::Binary(answer.encode_to_vec().into())).await.unwrap();
                        }
                    }
                });
            }
        });
    }

    /// Answers one HTTP request after the other with these bytes.
    fn answer(&mut self, answer: &'static str) {
        let (listener, acceptor) = (self.listener.clone(), self.acceptor.clone());
        self.tasks.spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
                let _ = tls.read(&mut [0; 4096]).await;
                let _ = tls.write_all(answer.as_bytes()).await;
                let _ = tls.shutdown().await;
            }
        });
    }

    fn transport(&self) -> WebSocketTransport {
        WebSocketTransport::new(&self.url, &Trust::Pem(self.ca.clone()), &Zeroizing::new("token".into()))
            .unwrap()
    }
}

/// Real timers, with a wall clock at a time when the vaults' documents are valid.
#[derive(Default)]
struct StandClock(TokioClock);

#[async_trait]
impl Clock for StandClock {
    fn now(&self) -> Time {
        Time(keys::START)
    }
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, time: Duration) {
        self.0.sleep(time).await;
    }
}

fn client(vaults: &MemoryFleet, chatd: &Chatd) -> Client {
    let fleet = vaults.fleet();
    let bundle = vaults.state().bundle.clone();
    fleet.accept(&bundle, Time(keys::START)).unwrap();
    let runtime = Runtime {
        transport: Arc::new(chatd.transport()),
        clock: Arc::new(StandClock::default()),
        random: Arc::new(OsRandom),
    };
    let timing = Timing { deadline: Duration::from_secs(20), ..Timing::default() };
    Client::new(fleet, runtime, Zeroizing::new(TOKEN.into())).with_timing(timing)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_recoveries_share_one_connection() {
    let (vaults, key) = registered().await;
    let mut chatd = chatd().await;
    chatd.relay(vaults.clone(), usize::MAX);
    let client = client(&vaults, &chatd);
    let options = RecoverOptions { last_try: LastTry::Use, ..Default::default() };
    let mut took = vec![];
    for _ in 0..20 {
        let begun = std::time::Instant::now();
        assert_eq!(client.recover(PASSWORD, options).await.unwrap().key.as_bytes(), &key);
        took.push(begun.elapsed());
    }
    took.sort();
    println!("recover over a local socket, vaults included, unoptimised: p50 {:?}", took[10]);
    let all = futures_util::future::join_all((0..8).map(|_| client.status())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(chatd.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_connection_lost_in_the_middle_costs_no_try() {
    for frames in [3, 4] {
        let (vaults, key) = registered().await;
        let mut chatd = chatd().await;
        chatd.relay(vaults.clone(), frames);
        let recovered = client(&vaults, &chatd).recover(PASSWORD, RecoverOptions::default()).await.unwrap();
        assert_eq!(recovered.key.as_bytes(), &key);
        assert_eq!(vaults.state().charged, 1, "{frames} frames a connection");
        assert!(chatd.connections.load(Ordering::SeqCst) > 1);
    }
}

#[tokio::test]
async fn what_chatd_answers_is_told_apart() {
    for (answer, token) in [
        ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", Some(TransportError::TokenRefused)),
        (
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer error=\"invalid_token\", error_description=\"expired\"\r\ncontent-length: 0\r\n\r\n",
            Some(TransportError::TokenExpired),
        ),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", None),
    ] {
        let mut chatd = chatd().await;
        chatd.answer(answer);
        for e in [
            chatd.transport().open().await.err().unwrap(),
            chatd.transport().get("/v1/fleet").await.unwrap_err(),
        ] {
            match &token {
                Some(token) => assert_eq!(e, *token),
                None => assert!(matches!(e, TransportError::Unreachable(_)), "{e:?}"),
            }
        }
    }
    let mut chatd = chatd().await;
    chatd.answer("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(&chatd.transport().get("/v1/fleet").await.unwrap()[..], b"abc");
    // RFC 6455, section 4.1: the accepted key proves that the other side has read this very request.
    for (answer, header) in [
        (
            "upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            "sec-websocket-accept",
        ),
        ("upgrade: websocket\r\n", "sec-websocket-accept"),
        ("upgrade: h2c\r\n", "upgrade"),
    ] {
        let mut chatd = self::chatd().await;
        chatd.answer(
            format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n{answer}\r\n").leak(),
        );
        let e = chatd.transport().open().await.err().unwrap();
        assert!(matches!(&e, TransportError::Unreachable(why) if why.contains(header)), "{e:?}");
    }
}

#[tokio::test]
async fn a_web_certificate_that_nobody_vouches_for_is_refused_at_once() {
    let (vaults, _) = registered().await;
    let (mut chatd, other) = (chatd().await, chatd().await);
    chatd.relay(vaults.clone(), 9);
    let mut wrong = client(&vaults, &chatd);
    let transport =
        WebSocketTransport::new(&chatd.url, &Trust::Pem(other.ca), &Zeroizing::new("t".into())).unwrap();
    let fleet = wrong.fleet().clone();
    let runtime = Runtime {
        transport: Arc::new(transport),
        clock: Arc::new(StandClock::default()),
        random: Arc::new(OsRandom),
    };
    wrong = Client::new(fleet, runtime, Zeroizing::new(TOKEN.into()));
    let e = wrong.status().await.unwrap_err();
    assert!(matches!(&e, Error::ChatdUnreachable(why) if why.contains("certificate")), "{e:?}");
    for bad in ["http://localhost:1", "localhost", "https://"] {
        assert!(WebSocketTransport::new(bad, &Trust::System, &Zeroizing::new("t".into())).is_err(), "{bad}");
    }
}

struct Renewed;

#[async_trait]
impl Tokens for Renewed {
    async fn token(&self, refused: Option<&str>) -> Result<Zeroizing<String>, Error> {
        Ok(Zeroizing::new(if refused.is_none() { "first" } else { "fresh" }.into()))
    }
}

/// ChatD ends a connection with its token. The same token would be refused, or end again.
#[tokio::test]
async fn a_connection_that_ended_with_its_token_is_followed_by_one_with_a_fresh_token() {
    let mut chatd = chatd().await;
    let (listener, acceptor) = (chatd.listener.clone(), chatd.acceptor.clone());
    let (seen, mut tokens) = tokio::sync::mpsc::unbounded_channel();
    chatd.tasks.spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let tls = acceptor.accept(tcp).await.unwrap();
            #[allow(clippy::result_large_err)] // the library's type
            let note = |request: &Request, answer: Response| {
                let bearer = request.headers()["authorization"].to_str().unwrap().to_owned();
                seen.send(bearer).unwrap();
                Ok(answer)
            };
            let mut socket = tokio_tungstenite::accept_hdr_async(tls, note).await.unwrap();
            let expired = CloseFrame { code: 4401.into(), reason: "expired".into() };
            socket.close(Some(expired)).await.unwrap();
        }
    });
    let trust = Trust::Pem(chatd.ca.clone());
    let transport = WebSocketTransport::with_tokens(&chatd.url, &trust, Arc::new(Renewed)).unwrap();
    for token in ["Bearer first", "Bearer fresh"] {
        let mut stream = transport.open().await.unwrap();
        assert!(matches!(stream.receive().await, Err(TransportError::Lost(_))));
        assert_eq!(tokens.recv().await.as_deref(), Some(token));
    }
}

/// The transport owns the task of its link: closing the client awaits it, and dropping the client ends it.
#[tokio::test]
async fn a_client_that_is_closed_or_dropped_leaves_no_task_behind() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (vaults, _) = registered().await;
    let mut chatd = chatd().await;
    chatd.relay(vaults.clone(), usize::MAX);
    let before = tasks();
    for close in [true, false] {
        let client = client(&vaults, &chatd);
        client.status().await.unwrap();
        assert_eq!(tasks(), before + 2, "the link's task here, and one at ChatD");
        if close {
            client.close().await;
            assert!(tasks() <= before + 1, "the link's task was not awaited");
            let e = client.status().await.unwrap_err();
            assert!(matches!(&e, Error::ChatdUnreachable(why) if why.contains("closed")), "{e:?}");
        }
        drop(client);
        let ended = async {
            while tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), ended).await.expect("a task is left");
    }
}
