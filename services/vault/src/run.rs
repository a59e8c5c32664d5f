//! A vault from its configuration to its last breath.

use std::sync::Arc;
use std::time::Duration;

use bkv_config::vault::Config;
use bkv_core::command::{Command, Expire};
use bkv_core::id::Time;
use bkv_crypto::delivery::DeliveryKey;
use bkv_hsm::{Token, VaultName};
use bkv_mtls::{Files, Identity, Role, RoleName, ServerRole};
use bkv_wire::channel::ServerSettings;
use bkv_wire::proto::peer as p;
use bkv_wire::verifier::WireVerifier;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::keeper::TokenKeeper;
use crate::metrics::Metrics;
use crate::peer::Body;
use crate::pin::RefusedPin;
use crate::replica::{Env, Node, NodeConfig};
use crate::root::{FirstStart, RootFile, establish};
use crate::service::{Parts, Vault};
use crate::store::{DataKeys, Store};
use crate::{admin, health, relay};

pub use crate::root::RootError;

/// The storage epoch that is there from the first day; rotation comes later.
pub const EPOCH: u64 = 1;
/// A leader whose clock is further from the majority's median steps aside.
const SKEW_MS: i64 = 5_000;

/// What went wrong at start; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The root.
    #[error(transparent)]
    Root(#[from] crate::root::RootError),
    /// The token.
    #[error("token: {0}")]
    Token(#[from] bkv_hsm::TokenError),
    /// The PIN of an earlier start.
    #[error(
        "token: the PIN in {} was refused at an earlier start and is still the same file; correct it (or touch it, if the token was mended). It is not offered again: tokens lock after a few wrong ones", .0.display()
    )]
    PinStillRefused(std::path::PathBuf),
    /// Replicas or store.
    #[error(transparent)]
    Node(#[from] crate::replica::NodeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Role certificates.
    #[error("tls: {0}")]
    Tls(#[from] bkv_mtls::Error),
    /// The role certificate.
    #[error(
        "tls.cert {path}: it is of {found}, this is {needed}: issue it with the URI SAN bkv://role/vault/<region>"
    )]
    Role {
        /// Which file.
        path: String,
        /// Whose it is.
        found: String,
        /// What is needed.
        needed: String,
    },
    /// An address.
    #[error("listen.{which} {address}: {source}")]
    Listen {
        /// Which.
        which: &'static str,
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Documents that were kept.
    #[error("documents: {0}")]
    Documents(#[from] crate::service::DocumentsError),
    /// It ran, and can't go on.
    #[error("can't go on: {0}. Start it again once that is mended; what it acknowledged is on the disk")]
    Fatal(String),
    /// Metrics.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Data keys from the token.
pub struct TokenKeys(pub Token);

impl DataKeys for TokenKeys {
    fn data_key(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, String> {
        self.0.epoch_mac_blocking(EPOCH, info).map_err(|e| e.to_string())
    }
}

/// Runs until `stop`; everything is ended in order.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let make_root = config.make_root.map(|m| m.fleet);
    // Before the token is touched: most of what can be wrong with it shows here.
    let root_file = RootFile::read(&config.root, make_root.is_some())?;
    let identity = Identity::load(Files {
        certificate: config.tls.cert.clone(),
        key: config.tls.key.clone(),
        ca: config.tls.ca.clone(),
    })?;
    // ChatD and administrators would refuse any other, one connection after the other.
    let needed = RoleName::new(Role::Vault, &config.region).map_err(|e| RunError::Other(e.to_string()))?;
    if identity.name() != needed {
        let (path, found) = (config.tls.cert.display().to_string(), identity.name().to_uri());
        return Err(RunError::Role { path, found, needed: needed.to_uri() });
    }
    let name = VaultName::new(&config.region).map_err(|e| RunError::Other(e.to_string()))?;
    let refused = RefusedPin::new(&config.data, &config.token.pin_file);
    if refused.is_known() {
        return Err(RunError::PinStillRefused(config.token.pin_file));
    }
    let token_config = config.token.clone();
    let token = tokio::task::spawn_blocking(move || Token::connect(&token_config, &name));
    let token = match token.await.map_err(|e| RunError::Other(e.to_string()))? {
        Err(e @ bkv_hsm::TokenError::PinRefused { .. }) => {
            refused.remember();
            return Err(e.into());
        }
        token => token?,
    };
    refused.forget();
    let first = FirstStart::of(&config.data);
    if make_root.is_some()
        && root_file.found.is_none()
        && matches!(token.identity_spki().await, Err(bkv_hsm::TokenError::NotProvisioned { .. }))
    {
        first.note()?;
    }
    let ceremony = token.provision().await?;
    tracing::info!(made = ?ceremony.made, found = ?ceremony.found, "token keys");
    if !token.epochs().await?.contains(&EPOCH) {
        token.epoch_create(EPOCH).await?;
    }
    let key = token.rustls_certified_key()?;
    let env = Env::default();
    let keeper = Arc::new(TokenKeeper::new(token.clone(), env.random.clone()));
    let node_config = NodeConfig {
        data: config.data.clone(),
        peer_listen: config.listen.peer,
        peers: config.peers.clone(),
        shards: config.shards,
        heartbeat_ms: config.raft.heartbeat_ms,
        election_ms: (config.raft.election_min_ms, config.raft.election_max_ms),
        snapshot_entries: config.raft.snapshot_entries,
        snapshot_every: Duration::from_secs(config.raft.snapshot_every_s),
    };
    let keys: Arc<dyn DataKeys> = Arc::new(TokenKeys(token.clone()));
    let store = Store::open(&config.data, &keys, env.random.as_ref())?;
    let custody = establish(root_file, make_root, &store, &first, env.random.as_ref()).await?;
    if custody.root().development {
        tracing::warn!(
            "development root: its private key lies in the clear on a disk; this fleet protects nobody"
        );
    }
    let verifier = Arc::new(WireVerifier::new(custody.root().clone()));
    let node = Node::over(store, node_config, env.clone(), key.clone(), keeper.clone(), verifier).await?;
    let delivery = delivery_key(&node).await?;
    let delivery_public = *delivery.public();
    keeper.set_delivery(delivery);
    let channel = ServerSettings::new(key).map_err(|e| RunError::Other(e.to_string()))?;
    let clock = env.clock.clone();
    let metrics = Metrics::new()?;
    metrics.also(node.commit_times())?;
    metrics.epoch_keys.set(i64::try_from(token.epochs().await?.len()).unwrap_or(0));
    let parts = Parts {
        region: config.region.clone(),
        custody,
        node,
        token: token.clone(),
        keeper,
        delivery_public,
        clock,
        random: env.random.clone(),
        channel,
        role: identity.clone(),
        data: config.data.clone(),
        metrics,
        observer: Arc::new(crate::env::NoObserver),
    };
    let vault = Vault::new(parts);
    let tasks = TaskTracker::new();
    let for_chatd = ServerRole::new(identity.clone()).admit(Role::Chatd).build()?;
    let for_admin = ServerRole::new(identity.clone()).admit(Role::Admin).build()?;
    tasks.spawn(identity.watch(Duration::from_secs(5), stop.clone()));
    vault.restore_documents(&stop).await?;
    let l = &config.listen;
    let failed = |which, address| move |source| RunError::Listen { which, address, source };
    relay::listen(vault.clone(), env.network.as_ref(), l.relay, for_chatd, stop.clone(), &tasks)
        .await
        .map_err(failed("relay", l.relay))?;
    admin::listen(vault.clone(), env.network.as_ref(), l.admin, for_admin, stop.clone(), &tasks)
        .await
        .map_err(failed("admin", l.admin))?;
    health::listen(vault.clone(), l.health, stop.clone(), &tasks)
        .await
        .map_err(failed("health", l.health))?;
    tasks.spawn(chores(vault.clone(), stop.clone()));
    tracing::info!(region = config.region, node = vault.node.node().0, "up");
    let fatal = tokio::select! {
        () = stop.cancelled() => None,
        why = vault.node.fatal() => Some(why),
    };
    tracing::info!("stopping");
    stop.cancel();
    step_down(&vault).await;
    tasks.close();
    let _ = tokio::time::timeout(Duration::from_secs(5), tasks.wait()).await;
    // Sessions hold the vault while they end; whoever is last takes the node down.
    for _ in 0..50 {
        if Arc::strong_count(&vault) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if let Ok(vault) = Arc::try_unwrap(vault) {
        vault.node.shutdown().await;
    }
    token.close();
    fatal.map_or(Ok(()), |why| Err(RunError::Fatal(why)))
}

/// Leadership is given up before the process ends, so that clients hardly notice.
async fn step_down(vault: &Vault) {
    for r in vault.node.replicas() {
        r.step_down();
    }
    let leads = || vault.node.replicas().iter().any(crate::replica::Replica::raft_leads);
    let until = Instant::now() + Duration::from_secs(2);
    while leads() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The key that shares are sealed to: from the store, or made and kept there at the first start.
pub async fn delivery_key(node: &Node) -> Result<DeliveryKey, RunError> {
    let other = |e: bkv_crypto::delivery::DeliveryError| RunError::Other(format!("delivery key: {e}"));
    if let Some(kept) = node.secret("delivery")? {
        let kept = Zeroizing::new(kept);
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(
            kept.as_slice().try_into().map_err(|_| RunError::Other("delivery key: length".into()))?,
        );
        return DeliveryKey::from_secret(&bytes).map_err(other);
    }
    let key = DeliveryKey::generate().map_err(other)?;
    node.put_secret("delivery", key.secret().map_err(other)?.to_vec()).await?;
    Ok(key)
}

/// What has to be done now and then: deadlines, boot keys, clocks, documents that some shard does not have yet.
pub async fn chores(vault: Arc<Vault>, stop: CancellationToken) {
    let mut tick = interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        turn = turn.wrapping_add(1);
        expire(&vault).await;
        if turn.is_multiple_of(10) {
            clocks(&vault).await;
            vault.propose_documents().await;
            vault.sweep();
        }
        if turn.is_multiple_of(120)
            && let Some(d) = vault.documents()
            && let Err(e) =
                vault.boot.renew(&d.documents.admission, vault.node.node(), vault.clock.now_ms()).await
        {
            tracing::error!(error = %e, "the boot key can't be renewed");
        }
    }
}

async fn expire(vault: &Vault) {
    let now = Time(vault.clock.now_ms());
    for replica in vault.node.replicas() {
        if !replica.status().borrow().lead {
            continue;
        }
        for account in replica.due(now, 64) {
            let _ = replica
                .propose(Command::Expire(Expire { account }), Instant::now() + Duration::from_secs(2))
                .await;
        }
    }
}

/// A leader whose clock is off would misjudge waits: it steps aside.
async fn clocks(vault: &Vault) {
    let Some(d) = vault.documents() else { return };
    let me = vault.node.node();
    let others = d.documents.admission.members.iter().map(|m| m.node).filter(|n| *n != me);
    let asked = futures_util::future::join_all(others.map(|n| async move {
        let sent = vault.clock.now_ms();
        match vault
            .node
            .peers()
            .call(n, Body::Clock(p::Clock {}), Instant::now() + Duration::from_secs(1))
            .await
        {
            Ok(Body::ClockAnswer(c)) => Some(signed(c.time_ms) - signed(sent.midpoint(vault.clock.now_ms()))),
            _ => None,
        }
    }));
    let offsets: Vec<i64> = asked.await.into_iter().flatten().collect();
    let Some(median) = median_offset(offsets, d.documents.admission.members.len()) else { return };
    vault.metrics.skew.set(median / 1000);
    if median.abs() > SKEW_MS {
        tracing::error!(median_ms = median, "this clock is off against the majority's: stepping aside");
        for r in vault.node.replicas() {
            r.step_down();
        }
    }
}

/// Where the members' median is from here, in milliseconds, if a majority of them is known; `offsets` are those of the others. Between two in the
/// middle, the lower: if two regions of three disagree nobody knows who is right, but entries of the one that is ahead are refused by the other, so
/// that one gives way.
pub(crate) fn median_offset(mut offsets: Vec<i64>, members: usize) -> Option<i64> {
    offsets.push(0);
    if offsets.len() * 2 <= members {
        return None; // no majority to compare with
    }
    offsets.sort_unstable();
    offsets.get((offsets.len() - 1) / 2).copied()
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S40: who is off is judged by a majority; of two that disagree the one that is ahead gives way, because the other refuses its entries.
    #[test]
    fn s40_the_majoritys_median_decides_and_in_doubt_the_one_ahead_gives_way() {
        let hour = 3_600_000;
        assert_eq!(median_offset(vec![1, -2], 3), Some(0));
        assert_eq!(median_offset(vec![hour, hour + 9], 3), Some(hour));
        assert_eq!(median_offset(vec![-hour, 5], 3), Some(0), "one other alone is off");
        assert_eq!(median_offset(vec![hour], 3), Some(0), "this one is behind, or the other is ahead");
        assert_eq!(median_offset(vec![-hour], 3), Some(-hour), "this one is ahead, or the other is behind");
        assert_eq!(median_offset(vec![], 3), None);
        assert_eq!(median_offset(vec![], 1), Some(0));
        assert_eq!(median_offset(vec![-hour, -hour], 5), Some(-hour));
        assert_eq!(median_offset(vec![hour], 5), None);
    }
}
