//! All replicas of a vault: opens the store, listens for peers, starts the tasks and ends them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bkv_core::document::Admission;
use bkv_core::id::{NodeId, ShardId};
use bkv_core::version::Versions;
use bkv_wire::verifier::WireVerifier;
use parking_lot::Mutex;
use rustls::sign::CertifiedKey;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arriving::Arriving;
use super::batch;
use super::certify::certify;
use super::config::{Env, NodeConfig};
use super::context::{Context, PeerService};
use super::elections::elections;
use super::equivocation::Shown;
use super::group::join_shard;
use super::handle::Replica;
use super::heartbeat::heartbeat;
use super::silence::Silence;
use super::staging::Staging;
use super::status::{Phase, ShardStatus};
use super::versions::Newer;
use crate::env::Random;
use crate::peer::{self, Admitted, Peers};
use crate::raft::appended::{Sign, Signatures, Signer};
use crate::raft::contradictions::{Contradiction, Contradictions};
use crate::raft::equivocators::{Equivocator, Equivocators};
use crate::raft::keeper::Keeper;
use crate::raft::log::Log;
use crate::raft::mandates::Mandates;
use crate::raft::network::Acknowledged;
use crate::raft::overtaken::Overtaken;
use crate::raft::state::State;
use crate::raft::transfer::Transfers;
use crate::store::{DataKeys, Store, StoreError, VAULT};
use crate::volume::Volume;

/// How long a shutdown waits for the tasks of the node, openraft's among them.
const CLOSE: Duration = Duration::from_secs(5);
/// Time between measurements of the volume. A leader that commits 100 MiB/s meanwhile is still far from the end of a volume that keeps 5 % free.
const MEASURE: Duration = Duration::from_secs(1);

/// Why a node can't start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address for peers can't be bound.
    #[error("listen.peer {address}: {source}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Nothing writes to the store any more.
    pub in_order: bool,
    /// Every shard had shown that its disk is the newest, and none has stopped.
    pub proven: bool,
}

/// A running vault's replicas.
pub struct Node {
    inner: Arc<Context>,
    stop: CancellationToken,
    address: SocketAddr,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.inner.node)
    }
}

impl Node {
    /// Opens the store and listens. Serves nothing before [`Self::set_admission`].
    pub async fn start(
        config: NodeConfig,
        env: Env,
        key: Arc<CertifiedKey>,
        keys: Arc<dyn DataKeys>,
        keeper: Arc<dyn Keeper>,
        verifier: Arc<WireVerifier>,
    ) -> Result<Self, NodeError> {
        let store = Store::open(&config.data, &keys, env.random.as_ref())?;
        Self::over(store, config, env, key, keeper, verifier).await
    }

    /// Starts on a store that is open already: tests and simulations bring their own disk.
    pub async fn over(
        store: Store,
        config: NodeConfig,
        env: Env,
        key: Arc<CertifiedKey>,
        keeper: Arc<dyn Keeper>,
        verifier: Arc<WireVerifier>,
    ) -> Result<Self, NodeError> {
        store.prepare((0..config.shards).chain([VAULT]))?;
        let node = node_id(&store, env.random.as_ref()).await?;
        let admitted = Admitted::default();
        let peers = Peers::new(
            admitted.clone(),
            key.clone(),
            config.peers.clone(),
            env.network.clone(),
            config.network.max_round_trip(),
        );
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let volume = Arc::new(Volume::new(config.data.clone(), config.volume, env.volumes.clone()));
        let wake = Arc::new(Notify::new());
        let service: Arc<OnceLock<Arc<dyn PeerService>>> = Arc::default();
        let signer = Signer::new(admitted.clone(), sign_by(service.clone()));
        let equivocators = Equivocators::open(config.shards, store.clone(), admitted.clone())?;
        let mut replicas = Vec::new();
        for shard in 0..config.shards {
            let log = Log::open(shard, store.clone())?;
            let (keeper, verifier, clock) = (keeper.clone(), verifier.clone(), env.clock.clone());
            let state = State::open(log, shard, store.clone(), keeper, verifier, clock, wake.clone())?;
            let state = state.of_program(config.versions);
            let (proposals, queue) = mpsc::channel(4096);
            let phase = Phase::Joining { missing: Vec::new() };
            let status = ShardStatus { phase, leader: None, lead: false, term: 0, applied: 0, last: 0 };
            let replica = Replica {
                state,
                status: Arc::new(watch::Sender::new(status)),
                raft: Arc::new(watch::Sender::new(None)),
                proposals,
                under_way: Arc::default(),
                volume: volume.clone(),
                stepping_down: Arc::default(),
                appending: Arc::default(),
                granted_votes: Arc::default(),
                overtaken: Overtaken::default(),
                arriving: Arriving::default(),
                silence: Silence::default(),
                peers: peers.clone(),
                mandates: Mandates::default(),
                leader_committed: Arc::default(),
                newer: Newer::default(),
                admitted: admitted.clone(),
                confirmations: Arc::default(),
            };
            tasks.spawn(until(
                &stop,
                batch::run(
                    queue,
                    replica.raft.subscribe(),
                    replica.status(),
                    replica.state.clone(),
                    peers.clone(),
                    tasks.clone(),
                ),
            ));
            replicas.push(replica);
        }
        let inner = Arc::new(Context {
            tasks: tasks.clone(),
            node,
            config,
            store,
            clock: env.clock.clone(),
            admitted: admitted.clone(),
            peers,
            replicas,
            acknowledged: Acknowledged::default(),
            service,
            signer,
            signatures: Signatures::default(),
            joined: AtomicBool::new(false),
            anchored: AtomicBool::new(false),
            fatal: watch::Sender::new(None),
            elections: AtomicU64::new(0),
            until: Mutex::default(),
            wake,
            signed: Mutex::default(),
            contradictions: Contradictions::default(),
            equivocators,
            shown: Shown::default(),
            transfers: Transfers::default(),
            staging: Staging::default(),
            volume,
        });
        let listen = inner.config.peer_listen;
        let admitted = (admitted, inner.config.network.max_round_trip());
        let address =
            peer::listen(env.network.as_ref(), listen, key, admitted, inner.clone(), stop.clone(), &tasks)
                .await
                .map_err(|source| NodeError::Listen { address: listen, source })?;
        tasks.spawn(until(&stop, heartbeat(inner.clone())));
        tasks.spawn(until(&stop, elections(inner.clone())));
        tasks.spawn(until(&stop, certify(inner.clone())));
        tasks.spawn(until(&stop, watch_store(inner.clone())));
        tasks.spawn(until(&stop, watch_volume(inner.volume.clone())));
        Ok(Self { inner, stop, address })
    }

    /// Waits until this process can't go on and returns the reason: its disk takes no more writes, or a Raft group ended. Everything acknowledged is
    /// on disk. The process must end and start again from its disk.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.inner.fatal.subscribe();
        let why = fatal.wait_for(Option::is_some).await.ok().and_then(|w| w.clone());
        why.unwrap_or_else(|| "shut down".into())
    }

    /// How often a replica of this vault became leader.
    pub fn elections(&self) -> u64 {
        self.inner.elections.load(Ordering::Relaxed)
    }

    /// Which vaults have contradicted this one since it started.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        self.inner.contradictions.all()
    }

    /// The smoothed round trip to each other region, in seconds.
    pub fn round_trips(&self) -> BTreeMap<String, f64> {
        let all = self.inner.peers.round_trips().into_iter();
        all.map(|(region, r)| (region, r.smoothed.as_secs_f64())).collect()
    }

    /// How long a follower waits for its leader at most before it asks for an election.
    pub fn election_patience(&self) -> Duration {
        self.inner.peers.timing().patience(&self.inner.config.raft, 1.0)
    }

    /// Which vaults are proven to have signed two histories of a shard.
    pub fn equivocators(&self) -> Vec<Equivocator> {
        self.inner.equivocators.all()
    }

    /// How long group commits take.
    pub fn commit_times(&self) -> prometheus::Histogram {
        self.inner.store.times()
    }

    /// The versions of the state that the program can apply.
    pub fn versions(&self) -> Versions {
        self.inner.config.versions
    }

    /// The vault's Raft node id: random, made at the first start.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Address on which peers connect.
    pub const fn peer_address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the handler for the peers' other calls. Only the first call has an effect.
    pub fn set_service(&self, service: Arc<dyn PeerService>) {
        let _ = self.inner.service.set(service);
    }

    /// Ends a stop of a shard that the root has lifted. False if the shard has not stopped with this id. A shard that stopped in this process goes on after a restart
    /// of the vault.
    pub async fn lift(&self, shard: ShardId, id: &[u8; 16], signed: &[u8]) -> Result<bool, StoreError> {
        let Some(replica) = self.replica(shard) else { return Ok(false) };
        if !replica.state.log.lift(id, signed).await? {
            return Ok(false);
        }
        tracing::warn!(shard = shard.0, "the root has lifted the stop of this shard");
        if replica.raft().is_some() {
            let why =
                format!("shard {shard} goes on where its disk ends, because the root has lifted its stop");
            self.inner.fatal.send_if_modified(|f| f.is_none() && f.replace(why).is_none());
        } else {
            // The lift excuses signatures that the disk lacks, so the shard must follow the others first.
            self.inner.anchored.store(false, Ordering::Relaxed);
            self.inner.tasks.spawn(until(&self.stop, join_shard(self.inner.clone(), replica.clone())));
        }
        Ok(true)
    }

    /// Lets the shards join without the other voters, because the token's anchor fits the store. Has an effect before the first admission list only.
    pub(crate) fn set_anchored(&self) {
        self.inner.anchored.store(true, Ordering::Relaxed);
    }

    /// Puts a verified admission list in force. The first one starts joining.
    pub fn set_admission(&self, list: Arc<Admission>) {
        self.inner.admitted.set(list);
        if !self.inner.joined.swap(true, Ordering::Relaxed) {
            for replica in &self.inner.replicas {
                self.inner.tasks.spawn(until(&self.stop, join_shard(self.inner.clone(), replica.clone())));
            }
        }
    }

    /// All shards.
    pub fn replicas(&self) -> &[Replica] {
        &self.inner.replicas
    }

    /// One shard.
    pub fn replica(&self, shard: ShardId) -> Option<&Replica> {
        self.inner.replicas.get(usize::from(shard.0))
    }

    /// The store's volume.
    pub fn volume(&self) -> &Volume {
        &self.inner.volume
    }

    /// Calls to other vaults.
    pub fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// A small sealed value that belongs to the vault itself.
    pub fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.inner.store.secret(name)?.map(|v| v.to_vec()))
    }

    /// Stores a small sealed value. It is on disk when this returns.
    pub async fn put_secret(&self, name: &str, value: Vec<u8>) -> Result<(), StoreError> {
        self.inner.store.put_secret(name, value).await
    }

    /// Ends everything in order and waits for it, for a bounded time. The store's file is released when the node and all its replicas are dropped.
    pub async fn shutdown(&self) -> Ended {
        let mut in_order = true;
        // Before the end of Raft, which changes the phases.
        let verified = self.inner.replicas.iter().all(|r| self.is_proven(r));
        if tokio::time::timeout(CLOSE, self.end_tasks()).await.is_err() {
            let running = self.inner.tasks.len();
            tracing::warn!(running, "tasks of the replicas still run after {} s", CLOSE.as_secs());
            in_order = false;
        }
        if tokio::time::timeout(CLOSE, self.inner.peers.close()).await.is_err() {
            tracing::warn!("links to other vaults are still open after {} s", CLOSE.as_secs());
        }
        if let Err(error) = self.inner.store.flush().await {
            tracing::warn!(%error, "the store was not flushed");
            in_order = false;
        }
        let proven = verified && self.inner.replicas.iter().all(|r| r.state.log.stopped().is_none());
        Ended { in_order, proven }
    }

    /// True if the shard's disk is known to be the newest: it was verified, or it has not begun since the anchor showed it.
    fn is_proven(&self, replica: &Replica) -> bool {
        let anchored = self.inner.anchored.load(Ordering::Relaxed);
        match replica.status().borrow().phase {
            Phase::Verified => true,
            Phase::Joining { .. } | Phase::LeftBehind(_) => anchored && replica.raft().is_none(),
            _ => false,
        }
    }

    /// openraft's tasks end a little after its shutdown returns, and until then they may write. Nothing may copy or open the store before that, so the
    /// state and the log that they hold count as tasks.
    async fn end_tasks(&self) {
        self.end_raft().await;
        self.stop.cancel();
        // A shard that was joining may have started its group meanwhile.
        self.end_raft().await;
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    async fn end_raft(&self) {
        for r in &self.inner.replicas {
            let raft = r.raft.send_replace(None);
            if let Some(raft) = raft {
                let _ = raft.shutdown().await;
            }
        }
    }
}

/// Signs with the boot key of the service, once there is one.
fn sign_by(service: Arc<OnceLock<Arc<dyn PeerService>>>) -> Sign {
    Arc::new(move |statement| service.get()?.sign(statement))
}

/// Runs a task until the node stops.
fn until(
    stop: &CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let stop = stop.clone();
    async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = task => {}
        }
    }
}

async fn node_id(store: &Store, random: &dyn Random) -> Result<NodeId, StoreError> {
    if let Some(row) = store.secret("node")? {
        let bytes =
            row.as_slice().try_into().map_err(|_| StoreError::Malformed("node".into(), "length".into()))?;
        return Ok(NodeId(u64::from_be_bytes(bytes)));
    }
    let mut bytes = [0u8; 8];
    random.fill(&mut bytes);
    // Never 0, and small enough to be exact as a JSON number.
    let id = (u64::from_be_bytes(bytes) >> 11) | 1;
    store.put_secret("node", id.to_be_bytes().to_vec()).await?;
    Ok(NodeId(id))
}

/// Ends the process when the disk refused a write, see `store::writer`.
async fn watch_store(inner: Arc<Context>) {
    let mut failed = inner.store.failed();
    if let Ok(why) = failed.wait_for(Option::is_some).await
        && let Some(why) = why.as_ref()
    {
        inner.fatal.send_replace(Some(why.to_string()));
    }
}

/// Measures the volume, and makes the reserve once there is room for it.
async fn watch_volume(volume: Arc<Volume>) {
    let mut tick = tokio::time::interval(MEASURE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let volume = volume.clone();
        let measured = tokio::task::spawn_blocking(move || {
            volume.measure();
            volume.keep_reserve();
        });
        if measured.await.is_err() {
            return;
        }
    }
}
