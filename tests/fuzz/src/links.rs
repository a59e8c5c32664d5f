//! A rooted vault, with a genuine role certificate, on the links that ChatD makes to it. The vaults of the other regions are honest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bkv_mtls::{Role, ServerRole};
use bkv_net::frames;
use bkv_simulation::documents::region;
use bkv_wire::frame::MAX_FRAME;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::frames::{Sent, encoded};
use crate::process::soon;
use crate::relay::Relays;
use crate::target::Target;
use crate::vaults::Vaults;
use crate::websocket::{Chatd, Socket};

/// The rooted vault.
const ROOTED: usize = 2;
/// Most frames of one input.
const FRAMES: usize = 24;
/// How long ChatD has for a stream before the client tries again.
const TRY: Duration = Duration::from_secs(2);

/// The vaults, the ChatD before them, and the attacker in the place of one vault.
pub struct Links(Vaults, Chatd, Rooted);

impl Target for Links {
    type Message = Sent;
    const TOKENS: bool = true;

    async fn begin(share: u32) -> Self {
        let vaults = Vaults::begin(share).await;
        let mut relays = Relays::listen(&vaults).await;
        let rooted = Rooted::listen(&vaults).await;
        relays.addresses[ROOTED] = rooted.address;
        let chatd = Chatd::start(&vaults, &relays).await;
        Self(vaults, chatd, rooted)
    }

    async fn input(&mut self, sent: &[Sent]) -> bool {
        let Self(vaults, chatd, rooted) = self;
        let (link, client) = rooted.stream(vaults, chatd).await;
        for sent in sent.iter().take(FRAMES) {
            if link.send(&encoded(vaults, sent, link.newest())).await.is_none() {
                break;
            }
        }
        chatd.serves(vaults, client).await;
        vaults.check().await;
        true
    }

    async fn end(self) {
        self.0.sim.down().await;
    }
}

fn greeting() -> o::Frame {
    let leaders = vec![o::Leadership { shard: 0, region: region(ROOTED) }];
    o::Frame { stream: 0, body: Some(Body::Hello(o::Hello { region: region(ROOTED), shards: 1, leaders })) }
}

/// The attacker's end of ChatD's links.
struct Rooted {
    address: SocketAddr,
    newest: watch::Receiver<Option<Arc<Link>>>,
}

impl Rooted {
    async fn listen(vaults: &Vaults) -> Self {
        let role = vaults.sim.machines[ROOTED].role.clone();
        let tls = TlsAcceptor::from(ServerRole::new(role).admit(Role::Chatd).build().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, newest) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // ChatD may have given up meanwhile.
                if let Ok(Ok(stream)) = timeout_at(soon(), tls.accept(stream)).await {
                    accepted.send_replace(Some(Link::serve(stream)));
                }
            }
        });
        Self { address, newest }
    }

    /// A client's stream that ChatD has opened here, because the client avoids all other regions.
    async fn stream(&mut self, vaults: &Vaults, chatd: &Chatd) -> (Arc<Link>, Socket) {
        let until = soon();
        loop {
            let link = self.link().await;
            let before = link.newest();
            link.send(&greeting().encode_to_vec()).await;
            let client = chatd.with_stream(vaults, &[region(0), region(1)]).await;
            if link.opened_since(before).await {
                return (link, client);
            }
            // ChatD may have ended this link, or have got the client's frame before the greeting.
            assert!(Instant::now() < until, "ChatD opens no stream to a connected vault");
        }
    }

    /// ChatD's present link. After a frame that it can't decode, ChatD makes a new one.
    async fn link(&mut self) -> Arc<Link> {
        let open = |link: &Option<Arc<Link>>| link.as_ref().is_some_and(|l| !l.ended.is_cancelled());
        let link = timeout_at(soon(), self.newest.wait_for(open)).await.expect("ChatD makes no link");
        link.unwrap().clone().unwrap()
    }
}

type Writer = WriteHalf<TlsStream<TcpStream>>;
type Reader = ReadHalf<TlsStream<TcpStream>>;

struct Link {
    write: Mutex<Writer>,
    /// The newest stream that ChatD has opened for a client. Those that ask for documents have numbers near it.
    newest: watch::Sender<u64>,
    ended: CancellationToken,
}

impl Link {
    /// Answers pings, so that ChatD keeps the link.
    fn serve(stream: TlsStream<TcpStream>) -> Arc<Self> {
        let (read, write) = tokio::io::split(stream);
        let link = Arc::new(Self {
            write: Mutex::new(write),
            newest: watch::Sender::new(0),
            ended: CancellationToken::new(),
        });
        let served = link.clone();
        tokio::spawn(async move {
            served.read(read).await;
            served.ended.cancel();
        });
        link
    }

    async fn read(&self, read: Reader) {
        let mut frames = frames::reader::<_, o::Frame>(read, MAX_FRAME);
        while let Some(Ok(frame)) = frames.next().await {
            match frame.body {
                Some(Body::Ping(ping)) => {
                    let pong = o::Frame { stream: 0, body: Some(Body::Pong(o::Pong { id: ping.id })) };
                    if self.send(&pong.encode_to_vec()).await.is_none() {
                        return;
                    }
                }
                Some(Body::Open(_)) => drop(self.newest.send_replace(frame.stream)),
                _ => {}
            }
        }
    }

    fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Waits until ChatD has opened another stream for a client. False if it does not.
    async fn opened_since(&self, before: u64) -> bool {
        let mut newest = self.newest.subscribe();
        tokio::select! {
            opened = timeout(TRY, newest.wait_for(|n| *n > before)) => opened.is_ok(),
            () = self.ended.cancelled() => false,
        }
    }

    async fn send(&self, frame: &[u8]) -> Option<()> {
        let length = u32::try_from(frame.len()).ok()?;
        let mut write = self.write.lock().await;
        let sent = async {
            write.write_all(&[&length.to_be_bytes()[..], frame].concat()).await.ok()?;
            write.flush().await.ok()
        };
        timeout_at(soon(), sent).await.expect("ChatD does not read")
    }
}
