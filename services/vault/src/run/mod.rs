//! Runs a vault from its configuration to its end: opens the token and the store, serves, stops.

mod error;
mod opening;
mod ports;

pub use error::RunError;
pub use opening::{EPOCH, TokenKeys, delivery_key};

use std::sync::Arc;
use std::time::Duration;

use bkv_config::vault::Config;
use bkv_hsm::Token;
use bkv_mtls::{Identity, Role, ServerRole};
use bkv_net::Tasks;
use bkv_wire::channel::ServerSettings;
use bkv_wire::verifier::WireVerifier;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::opening::{open_store, open_token, role};
use self::ports::Ports;
use crate::chores::chores;
use crate::env::Random;
use crate::keeper::TokenKeeper;
use crate::metrics::Metrics;
use crate::replica::{Env, Node, NodeConfig};
use crate::root::{Custody, FirstStart, RootFile};
use crate::service::{Parts, Vault};
use crate::store::Store;
use crate::{admin, anchor, health, relay};

pub use crate::root::RootError;

/// How long the tasks of sessions and connections may take to end. What still runs then is logged.
const END: Duration = Duration::from_secs(5);
/// How long this vault waits for another leader before it ends anyway, beside four round trips.
const STEP_DOWN: Duration = Duration::from_secs(2);
/// Time between checks for changed certificate files.
const RELOAD: Duration = Duration::from_secs(5);

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
    let (vault, ports) = assemble(&config, token, env.clone(), store, custody, role).await?;
    let tasks = Tasks::default();
    let served = serve(&vault, ports, &stop, &tasks).await;
    let fatal = match served {
        Ok(()) => tokio::select! {
            () = stop.cancelled() => None,
            why = vault.node().fatal() => Some(RunError::Fatal(why)),
        },
        Err(error) => Some(error),
    };
    // A vault that could not go on may have left a write behind.
    let anchors = config.token.anchors && !matches!(fatal, Some(RunError::Fatal(_)));
    end(vault, &stop, &tasks, anchors.then_some(env.random.as_ref())).await;
    fatal.map_or(Ok(()), Err)
}

/// Takes the anchor last: what fails before leaves it to the next start. If a later step fails before a shard has joined, `end` leaves another one.
async fn assemble(
    config: &Config,
    token: Token,
    env: Env,
    store: Store,
    custody: Custody,
    role: Arc<Identity>,
) -> Result<(Arc<Vault>, Ports), RunError> {
    let key = token.rustls_certified_key()?;
    let keeper = Arc::new(TokenKeeper::new(token.clone(), env.random.clone()));
    let (data, peers) = (config.data.clone(), config.peers.clone());
    let mut node_config = NodeConfig::new(data, config.listen.peer, peers, config.shards);
    (node_config.raft, node_config.volume) = (config.raft, config.volume);
    node_config.network = config.network;
    let verifier = Arc::new(WireVerifier::new(custody.root().clone()));
    let node = Node::over(store, node_config, env.clone(), key.clone(), keeper.clone(), verifier).await?;
    let ports = Ports::bind(&config.listen, env.network.as_ref()).await?;
    let delivery = delivery_key(&node).await?;
    let delivery_public = *delivery.public();
    keeper.set_delivery(delivery);
    let metrics = Metrics::new()?;
    metrics.also(node.commit_times())?;
    metrics.epoch_keys.set(i64::try_from(token.epochs().await?.len()).unwrap_or(0));
    let channel = ServerSettings::new(key)?;
    if anchor::take(&node, &token, config.token.anchors).await? {
        tracing::info!("the token's anchor shows that the store is the one of the last orderly stop");
    }
    let vault = Vault::new(Parts {
        region: config.region.clone(),
        custody,
        node,
        token,
        keeper,
        delivery_public,
        clock: env.clock,
        random: env.random,
        channel,
        role,
        jwks_ca_file: config.jwks_ca_file.clone(),
        metrics,
        observer: Arc::new(crate::env::NoObserver),
    });
    Ok((vault, ports))
}

/// Starts all tasks that end at `stop`.
async fn serve(
    vault: &Arc<Vault>,
    ports: Ports,
    stop: &CancellationToken,
    tasks: &Tasks,
) -> Result<(), RunError> {
    let role = vault.role().clone();
    let for_chatd = ServerRole::new(role.clone()).admit(Role::Chatd).build()?;
    let for_admin = ServerRole::new(role.clone()).admit(Role::Admin).build()?;
    tasks.group("certificate reload").spawn(role.clone().watch(RELOAD, stop.clone()));
    vault.restore_documents(stop).await?;
    relay::serve(vault.clone(), ports.relay, (for_chatd, role), stop.clone(), tasks);
    admin::serve(vault.clone(), ports.admin, for_admin, stop.clone(), tasks);
    health::serve(vault.clone(), ports.health, stop.clone(), tasks);
    tasks.group("chores").spawn(chores(vault.clone(), stop.clone()));
    tracing::info!(region = vault.region(), node = vault.node().node().0, "up");
    Ok(())
}

/// Ends the vault in order: first it gives up leadership so that clients hardly notice. Then end the tasks that use the node, the node, and the
/// token. With randomness, it leaves an anchor in the token.
async fn end(vault: Arc<Vault>, stop: &CancellationToken, tasks: &Tasks, anchors: Option<&dyn Random>) {
    tracing::info!("stopping");
    stop.cancel();
    step_down(&vault).await;
    let ended = tasks.ended(END).await;
    match &ended {
        Ok(()) => tracing::info!("all tasks have ended"),
        Err(running) => {
            tracing::warn!(%running, "tasks still run after {} s: the vault ends without them", END.as_secs());
        }
    }
    let token = vault.token().clone();
    let mut shut = vault.shutdown().await;
    shut.in_order &= ended.is_ok();
    if let Some(random) = anchors {
        match anchor::leave(vault.node(), &token, random, shut).await {
            Ok(true) => tracing::info!("an anchor is in the token"),
            Ok(false) => {
                tracing::info!(?shut, "no anchor is in the token: the next start asks the other vaults");
            }
            Err(error) => {
                tracing::warn!(%error, "no anchor is in the token: the next start asks the other vaults");
            }
        }
    }
    token.close();
}

/// Gives up all leadership and waits briefly for other leaders.
async fn step_down(vault: &Vault) {
    for r in vault.node().replicas() {
        r.step_down();
    }
    let leads = || vault.node().replicas().iter().any(crate::replica::Replica::raft_leads);
    let until = vault.node().peers().deadline(STEP_DOWN, 4);
    while leads() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
