//! A rooted ChatD, with a genuine role certificate, on its link to a vault.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bkv_mtls::{ClientRole, Identity, Role, RoleName, ServerRole};
use bkv_net::{Tasks, frames};
use bkv_vault::env::{Network as _, Tcp};
use bkv_wire::frame::MAX_FRAME;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use futures_util::StreamExt as _;
use prost::Message as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::frames::{Sent, encoded};
use crate::process::soon;
use crate::target::Target;
use crate::vaults::Vaults;

const DAY: Duration = Duration::from_hours(24);
/// Most frames of one input.
const FRAMES: usize = 24;
/// The number of the honest ping.
const PING: u64 = 0x686f_6e65_7374;

/// The relay ports of the vaults.
pub struct Relays {
    pub addresses: Vec<SocketAddr>,
    identity: Arc<Identity>,
    link: Option<Link>,
}

/// The vaults, and ChatD's links to them.
pub struct Relay(Vaults, Relays);

impl Target for Relay {
    type Message = Sent;
    const TOKENS: bool = true;

    async fn begin(share: u32) -> Self {
        let vaults = Vaults::begin(share).await;
        let relays = Relays::listen(&vaults).await;
        Self(vaults, relays)
    }

    async fn input(&mut self, sent: &[Sent]) -> bool {
        self.1.input(&self.0, sent).await;
        self.0.check().await;
        true
    }

    async fn end(self) {
        self.0.sim.down().await;
    }
}

struct Link {
    read: frames::Reader<ReadHalf<TlsStream<TcpStream>>, o::Frame>,
    write: WriteHalf<TlsStream<TcpStream>>,
}

impl Relays {
    /// Each vault listens for ChatDs.
    pub async fn listen(vaults: &Vaults) -> Self {
        let sim = &vaults.sim;
        let mut addresses = Vec::new();
        for i in 0..3 {
            let role = sim.machines[i].role.clone();
            let tls = ServerRole::new(role.clone()).admit(Role::Chatd).build().unwrap();
            let vault = sim.vault(i);
            let listening = async move {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let tasks = Tasks::default();
                let stop = CancellationToken::new();
                let listener = Tcp.listen(any).await.unwrap();
                let address = listener.address().unwrap();
                bkv_vault::relay::serve(vault, listener, (tls, role), stop, &tasks);
                address
            };
            addresses.push(sim.handle(i).spawn(listening).await.unwrap());
        }
        let issued = sim.roles.issue(&RoleName::new(Role::Chatd, "rooted").unwrap(), DAY).unwrap();
        let ca = sim.roles.certificate_pem().as_bytes();
        let identity = Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes(), ca).unwrap();
        Self { addresses, identity, link: None }
    }

    async fn connect(&self, to: usize) -> Link {
        let tls = ClientRole::new(self.identity.clone(), Role::Vault).build().unwrap();
        let stream = TcpStream::connect(self.addresses[to]).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("vault").unwrap();
        let stream = timeout_at(soon(), TlsConnector::from(tls).connect(name, stream));
        let (read, write) = tokio::io::split(stream.await.expect("the handshake hangs").unwrap());
        Link { read: frames::reader(read, MAX_FRAME), write }
    }

    /// One input. The vault ends a link on which a frame can't be decoded. On a new one it must answer.
    pub async fn input(&mut self, vaults: &Vaults, sent: &[Sent]) {
        let leader = vaults.sim.leader().await;
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect(leader).await,
        };
        for sent in sent.iter().take(FRAMES) {
            if link.send(&encoded(vaults, sent, 3)).await.is_none() {
                break;
            }
        }
        if link.answers().await {
            self.link = Some(link);
        } else {
            let mut link = self.connect(leader).await;
            assert!(link.answers().await, "the vault does not answer a new link");
            self.link = Some(link);
        }
    }
}

impl Link {
    async fn send(&mut self, frame: &[u8]) -> Option<()> {
        let length = u32::try_from(frame.len()).ok()?;
        self.write.write_all(&[&length.to_be_bytes()[..], frame].concat()).await.ok()?;
        self.write.flush().await.ok()
    }

    /// True if the honest ping is answered, false if the link has ended.
    async fn answers(&mut self) -> bool {
        let ping = o::Frame { stream: 0, body: Some(Body::Ping(o::Ping { id: PING })) };
        if self.send(&ping.encode_to_vec()).await.is_none() {
            return false;
        }
        let until = soon();
        loop {
            match timeout_at(until, self.read.next()).await.expect("the link hangs") {
                Some(Ok(o::Frame { body: Some(Body::Pong(pong)), .. })) if pong.id == PING => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
    }
}
