//! A vault's replicas together: opens the store, listens for peers, joins every shard, keeps the heartbeat, answers Raft.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bkv_core::command::Batch;
use bkv_core::document::Admission;
use bkv_core::id::{AccountId, Hash, NodeId, ShardId, Time};
use bkv_core::join::{Decision, LogPosition};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bkv_wire::verifier::WireVerifier;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use openraft::{Config, EntryPayload, ServerState, SnapshotPolicy};
use rustls::sign::CertifiedKey;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::staging::Staging;
use super::{Keeper, PeerService, Phase, Replica, ShardStatus, batch, join};
use crate::env::{Clock, Network, Random};
use crate::peer::{self, Admitted, Body, Incoming, Peers};
use crate::raft::log::Log;
use crate::raft::network::{Acknowledged, Net};
use crate::raft::snapshot::{Head, Received, SnapshotData};
use crate::raft::state::{AskVoters, State, Unfit, digest};
use crate::raft::types::{Membership, Raft, entry_in, log_id_in, log_id_out, position, vote_in, vote_out};
use crate::store::{DataKeys, Store, StoreError, VAULT};

/// Entries whose time is further ahead of this clock are refused on arrival.
const AHEAD_MS: u64 = 30_000;
/// See [`NodeConfig::snapshot_every`].
const SNAPSHOT_EVERY: Duration = Duration::from_mins(5);

/// A leader that has heard no majority for so long takes no proposals and says that nobody leads: an entry that it only wrote down could be committed
/// long after the client was told that nothing came of it. Several elections long, so that a hiccup is not taken for a loss.
const UNHEARD_MS: u64 = 1500;

/// How long a shutdown waits for the last task that holds the store.
const CLOSE: Duration = Duration::from_secs(5);

/// What a node needs to know.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Folder of the store.
    pub data: PathBuf,
    /// Where peers reach it.
    pub peer_listen: SocketAddr,
    /// Region → `host:port` of the others.
    pub peers: BTreeMap<String, String>,
    /// Number of Raft groups.
    pub shards: u16,
    /// Between heartbeats, milliseconds.
    pub heartbeat_ms: u64,
    /// A follower stands for election after a silence of the second and a random time between the two (openraft's lease and timeout), milliseconds.
    pub election_ms: (u64, u64),
    /// Entries after which the log is snapshotted and purged.
    pub snapshot_entries: u64,
    /// At the second turn after an entry it has left the log, however few there are: z, sealed shares and ciphertexts stay in it no longer than twice this.
    pub snapshot_every: Duration,
}

impl NodeConfig {
    /// With the usual timings.
    pub fn new(data: PathBuf, peer_listen: SocketAddr, peers: BTreeMap<String, String>, shards: u16) -> Self {
        Self {
            data,
            peer_listen,
            peers,
            shards,
            heartbeat_ms: 100,
            election_ms: (200, 300),
            snapshot_entries: 4096,
            snapshot_every: SNAPSHOT_EVERY,
        }
    }
}

/// The world that a node lives in.
#[derive(Clone)]
pub struct Env {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Network.
    pub network: Arc<dyn Network>,
}

impl Default for Env {
    fn default() -> Self {
        Self {
            clock: Arc::new(crate::env::SystemClock),
            random: Arc::new(crate::env::OsRandom),
            network: Arc::new(crate::env::Tcp),
        }
    }
}

/// A node can't start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The peers' address.
    #[error("listen.peer {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Timings that openraft refuses.
    #[error("raft timings: {0}")]
    Timings(String),
}

/// A running vault's replicas.
pub struct Node {
    inner: Arc<Inner>,
    stop: CancellationToken,
    tasks: TaskTracker,
    address: SocketAddr,
}

struct Inner {
    node: NodeId,
    config: NodeConfig,
    store: Store,
    clock: Arc<dyn Clock>,
    admitted: Admitted,
    peers: Peers,
    replicas: Vec<Replica>,
    acknowledged: Acknowledged,
    service: OnceLock<Arc<dyn PeerService>>,
    joined: AtomicBool,
    /// Set once this process can't go on: it must end and start again from its disk.
    fatal: watch::Sender<Option<String>>,
    /// How often a replica here became leader.
    elections: AtomicU64,
    /// While a shard catches up: how far it must come before it may vote.
    until: Mutex<HashMap<u16, LogPosition>>,
    /// Snapshots that are being received.
    staging: Staging,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.inner.node)
    }
}

/// Asks the other voters about an account, for snapshots.
struct Voters {
    admitted: Admitted,
    peers: Peers,
    me: NodeId,
}

#[async_trait::async_trait]
impl AskVoters for Voters {
    async fn agree(&self, shard: u16, id: &AccountId, want: &Hash) -> bool {
        let Some(list) = self.admitted.get() else { return false };
        let others = list.members.iter().map(|m| m.node).filter(|n| *n != self.me);
        let asked = futures_util::future::join_all(others.map(|node| {
            let ask = Body::Digest(p::Digest { shard: u32::from(shard), account: id.0.to_vec().into() });
            self.peers.call(node, ask, Instant::now() + Duration::from_secs(2))
        }));
        let same = asked
            .await
            .into_iter()
            .filter(|a| matches!(a, Ok(Body::DigestAnswer(d)) if d.digest[..] == want.0))
            .count();
        same >= usize::from(list.threshold)
    }
}

impl Node {
    /// Opens the store and listens. It serves nothing before [`Self::set_admission`].
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

    /// Over a store that is open already: tests and simulations bring their own disk.
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
        let peers = Peers::new(admitted.clone(), key.clone(), config.peers.clone(), env.network.clone());
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let mut replicas = Vec::new();
        for shard in 0..config.shards {
            let voters = Arc::new(Voters { admitted: admitted.clone(), peers: peers.clone(), me: node });
            let log = Log::open(shard, store.clone())?;
            let (keeper, verifier, clock) = (keeper.clone(), verifier.clone(), env.clock.clone());
            let state = State::open(log, shard, store.clone(), keeper, verifier, clock, voters)?;
            let (proposals, queue) = mpsc::channel(4096);
            let phase = Phase::Joining { missing: Vec::new() };
            let status = ShardStatus { phase, leader: None, lead: false, term: 0, applied: 0, last: 0 };
            let replica = Replica {
                state,
                status: Arc::new(watch::Sender::new(status)),
                raft: Arc::new(watch::Sender::new(None)),
                proposals,
                stepping_down: Arc::default(),
                admitted: admitted.clone(),
            };
            tasks.spawn(until(
                &stop,
                batch::run(queue, replica.raft.subscribe(), replica.status(), env.clock.clone()),
            ));
            replicas.push(replica);
        }
        let inner = Arc::new(Inner {
            node,
            config,
            store,
            clock: env.clock.clone(),
            admitted: admitted.clone(),
            peers,
            replicas,
            acknowledged: Acknowledged::default(),
            service: OnceLock::new(),
            joined: AtomicBool::new(false),
            fatal: watch::Sender::new(None),
            elections: AtomicU64::new(0),
            until: Mutex::default(),
            staging: Staging::default(),
        });
        let listen = inner.config.peer_listen;
        let address =
            peer::listen(env.network.as_ref(), listen, key, admitted, inner.clone(), stop.clone(), &tasks)
                .await
                .map_err(|source| NodeError::Listen { address: listen, source })?;
        tasks.spawn(until(&stop, heartbeat(inner.clone())));
        tasks.spawn(until(&stop, watch_store(inner.clone())));
        Ok(Self { inner, stop, tasks, address })
    }

    /// Waits until this process can't go on (its disk takes no more writes, a Raft group ended), and says why. What it acknowledged is safe; it must
    /// end and start again from its disk.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.inner.fatal.subscribe();
        let why = fatal.wait_for(Option::is_some).await.ok().and_then(|w| w.clone());
        why.unwrap_or_else(|| "shut down".into())
    }

    /// How often a replica here became leader.
    pub fn elections(&self) -> u64 {
        self.inner.elections.load(Ordering::Relaxed)
    }

    /// How long group commits take.
    pub fn commit_times(&self) -> prometheus::Histogram {
        self.inner.store.times()
    }

    /// Its Raft id: random, made at the first start.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Where peers reach it.
    pub const fn peer_address(&self) -> SocketAddr {
        self.address
    }

    /// Who answers the peers' other calls. Once.
    pub fn set_service(&self, service: Arc<dyn PeerService>) {
        let _ = self.inner.service.set(service);
    }

    /// Obeys an admission list that was checked. The first one starts joining.
    pub fn set_admission(&self, list: Arc<Admission>) {
        self.inner.admitted.set(list);
        if !self.inner.joined.swap(true, Ordering::Relaxed) {
            for replica in &self.inner.replicas {
                self.tasks.spawn(until(&self.stop, join_shard(self.inner.clone(), replica.clone())));
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

    /// Calls to other vaults.
    pub fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// A small sealed value of the vault itself.
    pub fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.inner.store.secret(name)?.map(|v| v.to_vec()))
    }

    /// Keeps a small sealed value; on disk when it returns.
    pub async fn put_secret(&self, name: &str, value: Vec<u8>) -> Result<(), StoreError> {
        self.inner.store.put_secret(name, value).await
    }

    /// Ends everything in order.
    pub async fn shutdown(self) {
        for r in &self.inner.replicas {
            let raft = r.raft.send_replace(None);
            if let Some(raft) = raft {
                let _ = raft.shutdown().await;
            }
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.inner.peers.close().await;
        let _ = self.inner.store.flush().await;
        // openraft's tasks end a little after it says so, and until then they may write: whoever copies or opens the store next must not meet them.
        let open = self.inner.store.open_elsewhere();
        drop(self);
        let until = Instant::now() + CLOSE;
        while open() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
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
    // Never 0, and small enough for every JSON number.
    let id = (u64::from_be_bytes(bytes) >> 11) | 1;
    store.put_secret("node", id.to_be_bytes().to_vec()).await?;
    Ok(NodeId(id))
}

/// A disk that refused a write ends the process: see `store::writer`.
async fn watch_store(inner: Arc<Inner>) {
    let mut failed = inner.store.failed();
    if let Ok(why) = failed.wait_for(Option::is_some).await
        && let Some(why) = why.as_ref()
    {
        inner.fatal.send_replace(Some(why.to_string()));
    }
}

/// One timer for all shards that this vault leads.
async fn heartbeat(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(Duration::from_millis(inner.config.heartbeat_ms));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut snapshots = Instant::now() + inner.config.snapshot_every;
    loop {
        tick.tick().await;
        for r in &inner.replicas {
            r.resume_if_alone();
            let raft = r.raft.borrow().clone();
            // Also while no majority answers, or it would never be heard again.
            if let Some(raft) = raft
                && r.raft_leads()
                && r.status.borrow().phase == Phase::Verified
                && !r.is_stepping_down()
            {
                let _ = raft.trigger().heartbeat().await;
            }
        }
        if Instant::now() >= snapshots {
            snapshots = Instant::now() + inner.config.snapshot_every;
            for r in &inner.replicas {
                // openraft's own policy keeps a few hundred entries whatever their age: on a quiet shard a destroyed key would stay in them for ever.
                r.purge_snapshotted().await;
                r.snapshot_now().await;
            }
        }
    }
}

/// Joins one shard, then keeps its status.
async fn join_shard(inner: Arc<Inner>, replica: Replica) {
    let shard = replica.state.shard;
    let log = replica.state.log.clone();
    let set = |phase: Phase| {
        replica.status.send_if_modified(|s| {
            let changed = s.phase != phase;
            s.phase = phase;
            changed
        });
    };
    let (ballot, goal) = loop {
        let Some(list) = inner.admitted.get() else { return };
        let voters: Vec<NodeId> = list.members.iter().map(|m| m.node).collect();
        if !voters.contains(&inner.node) {
            set(Phase::Halted("this vault is not on the admission list".into()));
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        match join::round(shard, inner.node, &voters, &log, &inner.peers).await {
            Decision::Verified { ballot } => break (ballot, None),
            Decision::CatchUp { ballot, until } => break (ballot, Some(until)),
            Decision::Quarantine(why) => {
                tracing::error!(shard, %why, "quarantined: this disk is never served from");
                set(Phase::Quarantined(why.to_string()));
                return;
            }
            Decision::Wait { missing } => {
                set(Phase::Joining { missing });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    if let Some(vote) = join::vote_of(ballot)
        && let Err(e) = log.adopt(vote).await
    {
        set(Phase::Halted(e.to_string()));
        return;
    }
    if let Some(goal) = goal {
        inner.until.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, goal);
        set(Phase::CatchingUp { until: goal.index });
    }
    let raft = match start_raft(&inner, &replica, goal.is_none()).await {
        Ok(raft) => raft,
        Err(e) => {
            set(Phase::Halted(e));
            return;
        }
    };
    replica.raft.send_replace(Some(raft.clone()));
    if goal.is_none() {
        set(Phase::Verified);
    }
    watch_raft(&inner, &replica, &raft, goal).await;
}

async fn start_raft(inner: &Arc<Inner>, replica: &Replica, elect: bool) -> Result<Raft, String> {
    let config = Config {
        cluster_name: format!("bkv-{}", replica.state.shard),
        heartbeat_interval: inner.config.heartbeat_ms,
        election_timeout_min: inner.config.election_ms.0,
        election_timeout_max: inner.config.election_ms.1,
        enable_heartbeat: false, // ours, for all shards at once
        enable_elect: elect,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(inner.config.snapshot_entries),
        max_in_snapshot_log_to_keep: 64,
        purge_batch_size: 256,
        replication_lag_threshold: inner.config.snapshot_entries,
        max_payload_entries: 64,
        ..Default::default()
    };
    let config = Arc::new(config.validate().map_err(|e| e.to_string())?);
    let net = Net {
        peers: inner.peers.clone(),
        state: replica.state.clone(),
        acknowledged: inner.acknowledged.clone(),
    };
    let (log, state) = (replica.state.log.clone(), replica.state.clone());
    Raft::new(inner.node.0, config, net, log, state).await.map_err(|e| e.to_string())
}

/// Turns openraft's metrics into status, and ends catching up.
async fn watch_raft(inner: &Arc<Inner>, replica: &Replica, raft: &Raft, mut goal: Option<LogPosition>) {
    let mut metrics = raft.metrics();
    let shard = replica.state.shard;
    let mut led = false;
    loop {
        let (leader, lead, heard, term, last) = {
            let m = metrics.borrow_and_update();
            let lead = m.state == ServerState::Leader;
            let heard = !lead || m.millis_since_quorum_ack.is_none_or(|ms| ms < UNHEARD_MS);
            let leader = m.current_leader.map(NodeId).filter(|_| heard);
            (leader, lead, heard, m.current_term, m.last_log_index.unwrap_or(0))
        };
        if goal.is_some_and(|g| position(replica.state.log.last().as_ref().map(|l| &l.0)) >= g) {
            goal = None;
            inner.until.lock().unwrap_or_else(PoisonError::into_inner).remove(&shard);
            raft.runtime_config().elect(true);
        }
        if !lead {
            // Somebody else leads now: what was asked for has happened.
            replica.stay();
        } else if !led {
            inner.elections.fetch_add(1, Ordering::Relaxed);
        }
        led = lead;
        let phase = match (replica.state.log.halted(), goal) {
            (Some(why), _) => Phase::Halted(why),
            (None, Some(g)) => Phase::CatchingUp { until: g.index },
            (None, None) => Phase::Verified,
        };
        let lead = lead && heard && phase == Phase::Verified && !replica.is_stepping_down();
        let status = ShardStatus { phase, leader, lead, term, applied: replica.applied(), last };
        replica.status.send_if_modified(|s| {
            // The indices alone change with every entry; nobody needs to be woken for them.
            let woken = (&s.phase, s.leader, s.lead, s.term)
                != (&status.phase, status.leader, status.lead, status.term);
            *s = status;
            woken
        });
        if metrics.changed().await.is_err() {
            break;
        }
    }
    // openraft has ended this group: by a contradiction, which a person must look at, or because it could not read or write.
    let halted = replica.state.log.halted();
    let ended = raft.metrics().borrow().running_state.as_ref().err().map(ToString::to_string);
    let why = halted.clone().unwrap_or_else(|| {
        format!("shard {shard}: Raft has ended: {}", ended.as_deref().unwrap_or("shut down"))
    });
    replica.status.send_modify(|s| {
        s.lead = false;
        s.phase = Phase::Halted(why.clone());
    });
    if halted.is_none() {
        inner.fatal.send_if_modified(|f| f.is_none() && f.replace(why).is_none());
    }
}

fn refuse(reason: impl Into<String>) -> Body {
    Body::Failed(p::Failed { reason: reason.into() })
}

/// A contradiction: this shard takes nothing more here until a person has looked at it.
fn halt(r: &Replica, why: String) -> p::raft_answer::Answer {
    r.state.log.halt(why.clone());
    r.status.send_modify(|s| s.phase = Phase::Halted(why.clone()));
    refuse_raft(why)
}

fn refuse_raft(reason: impl Into<String>) -> p::raft_answer::Answer {
    p::raft_answer::Answer::Failed(p::Failed { reason: reason.into() })
}

#[async_trait::async_trait]
impl Incoming for Inner {
    async fn call(&self, from: NodeId, body: Body) -> Body {
        match body {
            Body::Ask(ask) => match self.shard(ask.shard) {
                Some(r) => {
                    let verified = matches!(r.status.borrow().phase, Phase::Verified);
                    Body::Told(join::tell(
                        r.state.shard,
                        from,
                        &ask,
                        &r.state.log,
                        verified,
                        &self.acknowledged,
                    ))
                }
                None => refuse("unknown shard"),
            },
            Body::Digest(d) => match (self.shard(d.shard), AccountId::try_from(&d.account[..])) {
                // From an old disk this would be an old word.
                (Some(r), _) if r.status.borrow().phase != Phase::Verified => refuse("joining"),
                (Some(r), Ok(id)) => match r.account(&id) {
                    Ok(a) => {
                        Body::DigestAnswer(p::DigestAnswer { digest: digest(a.as_deref()).0.to_vec().into() })
                    }
                    Err(e) => refuse(e.to_string()),
                },
                _ => refuse("unknown shard or malformed account"),
            },
            Body::Snapshot(chunk) => self.snapshot(from, chunk).await,
            body => match self.service.get() {
                Some(service) => service.handle(from, body).await,
                None => refuse("starting"),
            },
        }
    }

    async fn raft(&self, from: NodeId, call: p::RaftCall) -> p::raft_answer::Answer {
        let Some(r) = self.shard(call.shard) else { return refuse_raft("unknown shard") };
        if let Some(why) = r.state.log.halted() {
            return refuse_raft(format!("halted: {why}"));
        }
        let raft = r.raft.borrow().clone();
        let Some(raft) = raft else { return refuse_raft("joining") };
        match call.call {
            Some(p::raft_call::Call::Append(a)) => self.append(from, r, &raft, a).await,
            Some(p::raft_call::Call::Vote(v)) => self.vote(from, r, &raft, v).await,
            None => refuse_raft("malformed"),
        }
    }
}

impl Inner {
    fn shard(&self, number: u32) -> Option<&Replica> {
        self.replicas.get(usize::try_from(number).ok()?)
    }

    async fn append(
        &self,
        from: NodeId,
        r: &Replica,
        raft: &Raft,
        a: p::AppendEntries,
    ) -> p::raft_answer::Answer {
        let Ok(vote) = vote_in(a.vote) else { return refuse_raft("malformed vote") };
        // Only the node that the vote names may append in its name.
        if vote.leader_id.node_id != from.0 {
            return refuse_raft("an append in another node's name");
        }
        let previous = a.previous.as_ref().map(log_id_in);
        // A leader of the past (it hung, or was cut off) may still hold entries that nobody took, where others are applied by now. That is no second
        // history: Raft refuses its vote. Asked after a contradiction is found, since a newer leader's append may come in between.
        let is_past = || r.state.log.vote().is_some_and(|v| v.leader_id > vote.leader_id);
        let mut behind = Hash([0; 32]);
        if let Some(id) = previous.as_ref() {
            // Left out, a fork could not be noticed; an honest leader has it for whatever it sends.
            let Ok(theirs) = Hash::try_from(&a.previous_chain[..]) else {
                return refuse_raft("an append without the chain hash that it follows");
            };
            if let Ok(Some(ours)) = r.state.log.chain_at(id)
                && ours != theirs
                && !is_past()
            {
                return halt(r, format!("node {from} has another history at {id}"));
            }
            behind = theirs;
        }
        let mut entries = Vec::with_capacity(a.entries.len());
        for e in a.entries {
            match entry_in(e) {
                Ok(e) => entries.push(e),
                Err(e) => return refuse_raft(e.to_string()),
            }
        }
        if let Some(at) = r.state.log.rewritten(behind, &entries, r.applied())
            && !is_past()
        {
            return halt(r, format!("node {from} has another history at {at}"));
        }
        let first = previous.as_ref().map_or(0, |id| id.index + 1);
        if !entries.iter().zip(first..).all(|(e, index)| e.log_id.index == index) {
            return refuse_raft("entries that do not follow each other");
        }
        if let Err(why) = self.acceptable(&entries) {
            tracing::error!(shard = r.state.shard, why, "entries refused on arrival");
            return refuse_raft(why);
        }
        let rpc = AppendEntriesRequest {
            vote,
            prev_log_id: previous,
            entries,
            leader_commit: a.committed.as_ref().map(log_id_in),
        };
        let result = match raft.append_entries(rpc).await {
            Ok(AppendEntriesResponse::Success) => R::Success(true),
            Ok(AppendEntriesResponse::PartialSuccess(id)) => {
                R::Partial(id.as_ref().map(log_id_out).unwrap_or_default())
            }
            Ok(AppendEntriesResponse::Conflict) => R::Conflict(true),
            Ok(AppendEntriesResponse::HigherVote(v)) => R::HigherVote(vote_out(&v)),
            Err(e) => return refuse_raft(e.to_string()),
        };
        p::raft_answer::Answer::Append(p::AppendAnswer { result: Some(result) })
    }

    /// What is refused before it reaches the log: times from the future, members that the root did not admit.
    fn acceptable(&self, entries: &[crate::raft::types::Entry]) -> Result<(), String> {
        for e in entries {
            match &e.payload {
                EntryPayload::Normal(b) => {
                    let batch: Batch =
                        minicbor::decode(&b.0).map_err(|e| format!("an entry does not read: {e}"))?;
                    self.in_time("an entry", batch.time)?;
                }
                EntryPayload::Membership(m) => self.no_strangers(m)?,
                EntryPayload::Blank => {}
            }
        }
        Ok(())
    }

    fn in_time(&self, what: &str, time: Time) -> Result<(), String> {
        if time.0 > self.clock.now_ms().saturating_add(AHEAD_MS) {
            return Err(format!("{what} from more than 30 s in the future: a clock is wrong"));
        }
        Ok(())
    }

    fn no_strangers(&self, m: &Membership) -> Result<(), String> {
        let list = self.admitted.get().ok_or("no admission list")?;
        m.nodes()
            .find(|(id, _)| list.node(NodeId(**id)).is_none())
            .map_or(Ok(()), |(stranger, _)| Err(format!("node {stranger} is not on the admission list")))
    }

    async fn vote(
        &self,
        from: NodeId,
        r: &Replica,
        raft: &Raft,
        v: p::VoteRequest,
    ) -> p::raft_answer::Answer {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner).get(&r.state.shard).copied();
        if until.is_some_and(|u| !join::may_vote(v.last.as_ref(), u)) {
            return refuse_raft("catching up");
        }
        let Some(vote) = join::read_vote(v.vote) else { return refuse_raft("malformed vote") };
        if vote.leader_id.node_id != from.0 {
            return refuse_raft("a request for votes in another node's name");
        }
        match raft.vote(VoteRequest::new(vote, v.last.as_ref().map(log_id_in))).await {
            Ok(answer) => p::raft_answer::Answer::Vote(p::VoteAnswer {
                vote: Some(vote_out(&answer.vote)),
                granted: answer.vote_granted,
                last: answer.last_log_id.as_ref().map(log_id_out),
            }),
            Err(e) => refuse_raft(e.to_string()),
        }
    }

    /// Stages chunks; with the last one the whole goes to Raft, which lets the state judge it.
    async fn snapshot(&self, from: NodeId, chunk: p::SnapshotChunk) -> Body {
        let Some(r) = self.shard(chunk.shard) else { return refuse("unknown shard") };
        if let Some(why) = r.state.log.halted() {
            return refuse(format!("halted: {why}"));
        }
        let raft = r.raft.borrow().clone();
        let Some(raft) = raft else { return refuse("joining") };
        let Ok(vote) = vote_in(chunk.vote) else { return refuse("malformed vote") };
        if vote.leader_id.node_id != from.0 {
            return refuse("a snapshot in another node's name");
        }
        let answer = |vote| Body::SnapshotAnswer(p::SnapshotAnswer { vote: Some(vote_out(&vote)) });
        // As for entries: what a leader of the past sends is no contradiction. It is told of the newer vote.
        let newer = || r.state.log.vote().filter(|v| v.leader_id > vote.leader_id);
        if let Some(newer) = newer() {
            return answer(newer);
        }
        let (head, rows) = match self.staging.take(r.state.shard, from, &chunk) {
            Ok(Some(whole)) => whole,
            Ok(None) => return answer(vote),
            Err(why) => return refuse(why),
        };
        let meta = match snapshot_meta(&head) {
            Ok(meta) => meta,
            Err(why) => return refuse(why),
        };
        if meta.last_log_id.is_some_and(|id| id.index <= r.applied()) {
            return answer(vote); // a late copy: all of it is applied here
        }
        // As for entries: a time from the future would end every wait and deadline of the shard at once, by one message.
        let fit = self
            .in_time("a snapshot", head.shard.time)
            .and_then(|()| self.no_strangers(meta.last_membership.membership()));
        if let Err(why) = fit {
            tracing::error!(shard = r.state.shard, why, "a snapshot refused on arrival");
            return refuse(why);
        }
        let mut received = Received { head, rows, confirmed: HashSet::new() };
        match r.state.examine(&mut received).await {
            Ok(()) => {}
            Err(Unfit::Halt(why)) => {
                if let Some(newer) = newer() {
                    return answer(newer);
                }
                r.state.log.halt(why.clone());
                r.status.send_modify(|s| s.phase = Phase::Halted(why.clone()));
                return refuse(why);
            }
            Err(later) => return refuse(later.to_string()),
        }
        let data = SnapshotData::Received(Box::new(received));
        match raft.install_full_snapshot(vote, openraft::Snapshot { meta, snapshot: Box::new(data) }).await {
            Ok(a) => answer(a.vote),
            Err(e) => refuse(e.to_string()),
        }
    }
}

fn snapshot_meta(head: &Head) -> Result<openraft::SnapshotMeta<u64, openraft::EmptyNode>, String> {
    use prost::Message as _;
    let last = log_id_in(&p::LogId::decode(&head.applied[..]).map_err(|e| e.to_string())?);
    let membership = crate::raft::state::stored_membership(head).map_err(|e| e.to_string())?;
    Ok(openraft::SnapshotMeta {
        last_log_id: Some(last),
        last_membership: membership,
        snapshot_id: format!("{}-{}", last.leader_id.term, last.index),
    })
}
