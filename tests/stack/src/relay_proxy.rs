//! The position of an attacker who runs ChatD: a proxy between ChatD and a vault, with the role certificates of the fleet's folder (all keys that ChatD
//! holds, and a vault's role key). It reads every frame in the clear and may change it. [`crate::packet_capture`] gets only ciphertext.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bkv_mtls::{ClientRole, Files, Identity, Role, ServerRole};
use bkv_net::frames;
use bkv_wire::frame::MAX_FRAME;
use bkv_wire::proto::outer::{self as o};
use futures_util::StreamExt as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Fleet;

/// One frame that passed.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Region of the vault.
    pub region: String,
    /// True from the client to the vault.
    pub up: bool,
    /// The frame before any change.
    pub frame: o::Frame,
}

/// May change a frame. Returns false to drop it. The first argument is true for frames from the client to the vault.
pub type Meddle = Arc<dyn Fn(bool, &mut o::Frame) -> bool + Send + Sync>;

/// The proxies of all regions.
pub struct RelayProxies {
    /// Region → port for ChatD in place of the vault's.
    pub ports: BTreeMap<String, u16>,
    /// All frames that passed.
    pub record: Arc<Mutex<Vec<Seen>>>,
}

impl RelayProxies {
    /// Starts one proxy in front of every vault.
    pub async fn before(fleet: &Fleet, meddle: Meddle) -> Self {
        Self::before_each(fleet, |_| meddle.clone()).await
    }

    /// The same, with a way to meddle for each region.
    pub async fn before_each(fleet: &Fleet, meddling: impl Fn(&str) -> Meddle) -> Self {
        let record = Arc::new(Mutex::new(Vec::new()));
        let mut ports = BTreeMap::new();
        for region in fleet.regions() {
            let vault = fleet.dir().join("regions").join(&region).join("tls");
            let vault = Identity::load(Files::in_directory(&vault)).expect("the vault's role certificate");
            let chatd = Identity::load(Files::in_directory(&fleet.dir().join("chatd"))).expect("ChatD's");
            let server = ServerRole::new(vault).admit(Role::Chatd).build().expect("a server");
            let client = ClientRole::new(chatd, Role::Vault).named(&region).build().expect("a client");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            ports.insert(region.clone(), listener.local_addr().expect("its address").port());
            let (target, record, meddle) = (fleet.port(&region, "relay"), record.clone(), meddling(&region));
            tokio::spawn(async move {
                let (acceptor, connector) = (TlsAcceptor::from(server), TlsConnector::from(client));
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, connector) = (acceptor.clone(), connector.clone());
                    let (region, record, meddle) = (region.clone(), record.clone(), meddle.clone());
                    tokio::spawn(async move {
                        let _ = pass(stream, acceptor, target, connector, &region, &record, &meddle).await;
                    });
                }
            });
        }
        Self { ports, record }
    }

    /// Points a second ChatD's configuration at the proxies.
    pub fn redirect(&self, table: &mut toml::Table) {
        for (region, port) in &self.ports {
            crate::chatd::section(table, "vaults").insert(region.clone(), format!("127.0.0.1:{port}").into());
        }
    }

    /// The frames so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.record.lock().expect("the record").clone()
    }
}

async fn pass(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    target: u16,
    connector: TlsConnector,
    region: &str,
    record: &Mutex<Vec<Seen>>,
    meddle: &Meddle,
) -> std::io::Result<()> {
    let chatd = acceptor.accept(stream).await?;
    let vault = TcpStream::connect(("127.0.0.1", target)).await?;
    let name = ServerName::try_from("vault").map_err(std::io::Error::other)?;
    let vault = connector.connect(name, vault).await?;
    let (chatd_read, chatd_write) = tokio::io::split(chatd);
    let (vault_read, vault_write) = tokio::io::split(vault);
    let write = |up: bool, f: &mut o::Frame| {
        let seen = Seen { region: region.to_owned(), up, frame: f.clone() };
        record.lock().expect("the record").push(seen);
        meddle(up, f)
    };
    // When one direction ends, both end.
    tokio::select! {
        end = carry(chatd_read, vault_write, |f| write(true, f)) => end,
        end = carry(vault_read, chatd_write, |f| write(false, f)) => end,
    }
}

async fn carry(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    look: impl Fn(&mut o::Frame) -> bool,
) -> std::io::Result<()> {
    let (mut incoming, mut outgoing) =
        (frames::reader::<_, o::Frame>(from, MAX_FRAME), frames::Writer::new(to));
    while let Some(frame) = incoming.next().await {
        let mut frame = frame?;
        if look(&mut frame) {
            outgoing.put(&frame)?;
        }
        outgoing.flush().await?;
    }
    Ok(())
}
