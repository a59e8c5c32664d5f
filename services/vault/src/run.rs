//! Runs a vault from its configuration to its end: opens the token and the store, serves, stops.

use std::sync::Arc;
use std::time::Duration;

use bkv_config::vault::{Config, MakeRoot};
use bkv_crypto::delivery::DeliveryKey;
use bkv_hsm::{Token, TokenError, VaultName};
use bkv_mtls::{Files, Identity, Role, RoleName, ServerRole};
use bkv_net::Tasks;
use bkv_wire::channel::ServerSettings;
use bkv_wire::verifier::WireVerifier;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::chores::chores;
use crate::keeper::TokenKeeper;
use crate::metrics::Metrics;
use crate::pin::RefusedPin;
use crate::replica::{Env, Node, NodeConfig};
use crate::root::{Custody, FirstStart, RootFile, establish};
use crate::service::{Parts, Vault};
use crate::store::{DataKeys, Store};
use crate::volume::make_room_to_start;
use crate::{admin, health, relay};

pub use crate::root::RootError;

/// The number of the storage epoch. There is no rotation yet.
pub const EPOCH: u64 = 1;
/// How long the tasks of sessions and connections may take to end. What still runs then is logged.
const END: Duration = Duration::from_secs(5);
/// How long this vault waits for another leader before it ends anyway.
const STEP_DOWN: Duration = Duration::from_secs(2);
/// Time between checks for changed certificate files.
const RELOAD: Duration = Duration::from_secs(5);

/// Why a vault can't start or go on. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The root can't be used.
    #[error(transparent)]
    Root(#[from] crate::root::RootError),
    /// The token failed.
    #[error("token: {0}")]
    Token(#[from] bkv_hsm::TokenError),
    /// The token refused the PIN file at an earlier start.
    #[error(
        "token: the PIN in {} was refused at an earlier start, and the file has not changed. Correct the PIN, or touch the file if the token was repaired. The vault does not offer the same PIN again, because tokens lock after a few wrong PINs", .0.display()
    )]
    PinStillRefused(std::path::PathBuf),
    /// The replicas can't start.
    #[error(transparent)]
    Node(#[from] crate::replica::NodeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The role certificate can't be loaded.
    #[error("tls: {0}")]
    Tls(#[from] bkv_mtls::Error),
    /// The role certificate names another role.
    #[error(
        "tls.cert {path}: the certificate is of {found}, but this vault is {needed}: issue it with the URI SAN bkv://role/vault/<region>"
    )]
    Role {
        /// Path of the certificate.
        path: String,
        /// The role that it names.
        found: String,
        /// The role that is needed.
        needed: String,
    },
    /// An address can't be bound.
    #[error("listen.{which} {address}: {source}")]
    Listen {
        /// The setting under `listen`.
        which: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The stored documents can't be put in force.
    #[error("documents: {0}")]
    Documents(#[from] crate::service::DocumentsError),
    /// The vault ran and can't go on.
    #[error(
        "the vault can't go on: {0}. Repair the cause and start it again. Everything that it acknowledged is on the disk"
    )]
    Fatal(String),
    /// The metrics can't be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The region's name is not valid in a role name.
    #[error("region")]
    RegionRole(#[from] bkv_mtls::role::RoleError),
    /// The region's name is not valid on the token.
    #[error("region")]
    RegionToken(#[from] bkv_hsm::BadVaultName),
    /// The delivery key can't be made.
    #[error("delivery key")]
    Delivery(#[from] bkv_crypto::delivery::DeliveryError),
    /// The stored delivery key has the wrong length.
    #[error("delivery key: the stored key does not have 32 bytes")]
    DeliveryLength,
    /// The inner channel can't be set up.
    #[error("inner channel")]
    Channel(#[from] bkv_wire::channel::ChannelError),
    /// The thread that opens the token has ended.
    #[error("token: the thread that opens it has ended")]
    Thread(#[from] tokio::task::JoinError),
    /// Signal handlers can't be installed.
    #[error("signals")]
    Signals(#[source] std::io::Error),
}

/// Derives the store's data keys in the token.
pub struct TokenKeys(pub Token);

impl DataKeys for TokenKeys {
    fn data_key(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        self.0.epoch_mac_blocking(EPOCH, info)
    }
}

/// Runs until `stop` or until the vault can't go on, then ends all parts in order.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let make_root = config.make_root;
    // Read the root before the token is used: most mistakes in the configuration show here.
    let root_file = RootFile::read(&config.root, make_root.is_some())?;
    let role = role(&config)?;
    let first = FirstStart::of(&config.data);
    let token = open_token(&config, &first, make_root.is_some() && root_file.found.is_none()).await?;
    let env = Env::default();
    let (store, custody) = open_store(&config, &token, &env, root_file, make_root, &first).await?;
    let vault = assemble(&config, token, env.clone(), store, custody, role).await?;
    let tasks = Tasks::default();
    let served = serve(&vault, &config, &env, &stop, &tasks).await;
    let fatal = match served {
        Ok(()) => tokio::select! {
            () = stop.cancelled() => None,
            why = vault.node().fatal() => Some(RunError::Fatal(why)),
        },
        Err(error) => Some(error),
    };
    end(vault, &stop, &tasks).await;
    fatal.map_or(Ok(()), Err)
}

/// The certificate for ChatD and administrators. Refuse a wrong role now, because both would refuse every connection of a vault with another name.
fn role(config: &Config) -> Result<Arc<Identity>, RunError> {
    let files = Files {
        certificate: config.tls.cert.clone(),
        key: config.tls.key.clone(),
        ca: config.tls.ca.clone(),
    };
    let identity = Identity::load(files)?;
    let needed = RoleName::new(Role::Vault, &config.region)?;
    if identity.name() != needed {
        let (path, found) = (config.tls.cert.display().to_string(), identity.name().to_uri());
        return Err(RunError::Role { path, found, needed: needed.to_uri() });
    }
    Ok(identity)
}

/// Connects to the token and makes the keys that it lacks. Offers no PIN that the token has refused before.
async fn open_token(config: &Config, first: &FirstStart, makes_root: bool) -> Result<Token, RunError> {
    let name = VaultName::new(&config.region)?;
    let refused = RefusedPin::new(&config.data, &config.token.pin_file);
    if refused.is_known() {
        return Err(RunError::PinStillRefused(config.token.pin_file.clone()));
    }
    let settings = config.token.clone();
    let token = match tokio::task::spawn_blocking(move || Token::connect(&settings, &name)).await? {
        Err(e @ TokenError::PinRefused { .. }) => {
            refused.remember();
            return Err(e.into());
        }
        token => token?,
    };
    refused.forget();
    if makes_root && matches!(token.identity_spki().await, Err(TokenError::NotProvisioned { .. })) {
        first.note()?;
    }
    let ceremony = token.provision().await?;
    tracing::info!(made = ?ceremony.made, found = ?ceremony.found, "token keys");
    if !token.epochs().await?.contains(&EPOCH) {
        token.epoch_create(EPOCH).await?;
    }
    Ok(token)
}

/// Opens the store, and pins the root that the file holds or that this fleet makes.
async fn open_store(
    config: &Config,
    token: &Token,
    env: &Env,
    root_file: RootFile,
    make_root: Option<MakeRoot>,
    first: &FirstStart,
) -> Result<(Store, Custody), RunError> {
    let keys: Arc<dyn DataKeys> = Arc::new(TokenKeys(token.clone()));
    make_room_to_start(&config.data, env.volumes.as_ref());
    let store = Store::open(&config.data, &keys, env.random.as_ref())?;
    let custody =
        establish(root_file, make_root.map(|m| m.fleet), &store, first, env.random.as_ref()).await?;
    if custody.root().development {
        tracing::warn!(
            "development root: its private key lies in the clear on a disk, so this fleet protects no account"
        );
    }
    Ok((store, custody))
}

async fn assemble(
    config: &Config,
    token: Token,
    env: Env,
    store: Store,
    custody: Custody,
    role: Arc<Identity>,
) -> Result<Arc<Vault>, RunError> {
    let key = token.rustls_certified_key()?;
    let keeper = Arc::new(TokenKeeper::new(token.clone(), env.random.clone()));
    let node_config = NodeConfig {
        data: config.data.clone(),
        peer_listen: config.listen.peer,
        peers: config.peers.clone(),
        shards: config.shards,
        raft: config.raft,
        volume: config.volume,
    };
    let verifier = Arc::new(WireVerifier::new(custody.root().clone()));
    let node = Node::over(store, node_config, env.clone(), key.clone(), keeper.clone(), verifier).await?;
    let delivery = delivery_key(&node).await?;
    let delivery_public = *delivery.public();
    keeper.set_delivery(delivery);
    let metrics = Metrics::new()?;
    metrics.also(node.commit_times())?;
    metrics.epoch_keys.set(i64::try_from(token.epochs().await?.len()).unwrap_or(0));
    Ok(Vault::new(Parts {
        region: config.region.clone(),
        custody,
        node,
        token,
        keeper,
        delivery_public,
        clock: env.clock,
        random: env.random,
        channel: ServerSettings::new(key)?,
        role,
        jwks_ca_file: config.jwks_ca_file.clone(),
        metrics,
        observer: Arc::new(crate::env::NoObserver),
    }))
}

/// Starts all tasks that end at `stop`.
async fn serve(
    vault: &Arc<Vault>,
    config: &Config,
    env: &Env,
    stop: &CancellationToken,
    tasks: &Tasks,
) -> Result<(), RunError> {
    let role = vault.role().clone();
    let for_chatd = ServerRole::new(role.clone()).admit(Role::Chatd).build()?;
    let for_admin = ServerRole::new(role.clone()).admit(Role::Admin).build()?;
    tasks.group("certificate reload").spawn(role.clone().watch(RELOAD, stop.clone()));
    vault.restore_documents(stop).await?;
    let (l, network) = (&config.listen, env.network.as_ref());
    let failed = |which, address| move |source| RunError::Listen { which, address, source };
    relay::listen(vault.clone(), network, l.relay, (for_chatd, role), stop.clone(), tasks)
        .await
        .map_err(failed("relay", l.relay))?;
    admin::listen(vault.clone(), network, l.admin, for_admin, stop.clone(), tasks)
        .await
        .map_err(failed("admin", l.admin))?;
    health::listen(vault.clone(), l.health, stop.clone(), tasks).await.map_err(failed("health", l.health))?;
    tasks.group("chores").spawn(chores(vault.clone(), stop.clone()));
    tracing::info!(region = config.region, node = vault.node().node().0, "up");
    Ok(())
}

/// Ends the vault in order: first it gives up leadership so that clients hardly notice. Then end the tasks that use the node, the node, and the
/// token.
async fn end(vault: Arc<Vault>, stop: &CancellationToken, tasks: &Tasks) {
    tracing::info!("stopping");
    stop.cancel();
    step_down(&vault).await;
    match tasks.ended(END).await {
        Ok(()) => tracing::info!("all tasks have ended"),
        Err(running) => {
            tracing::warn!(%running, "tasks still run after {} s: the vault ends without them", END.as_secs());
        }
    }
    let token = vault.token().clone();
    vault.shutdown().await;
    token.close();
}

/// Gives up all leadership and waits briefly for other leaders.
async fn step_down(vault: &Vault) {
    for r in vault.node().replicas() {
        r.step_down();
    }
    let leads = || vault.node().replicas().iter().any(crate::replica::Replica::raft_leads);
    let until = Instant::now() + STEP_DOWN;
    while leads() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The key to which shares are sealed. Made and stored at the first start.
pub async fn delivery_key(node: &Node) -> Result<DeliveryKey, RunError> {
    if let Some(kept) = node.secret("delivery")? {
        let kept = Zeroizing::new(kept);
        let bytes: Zeroizing<[u8; 32]> =
            Zeroizing::new(kept.as_slice().try_into().map_err(|_| RunError::DeliveryLength)?);
        return Ok(DeliveryKey::from_secret(&bytes)?);
    }
    let key = DeliveryKey::generate()?;
    node.put_secret("delivery", key.secret()?.to_vec()).await?;
    Ok(key)
}
