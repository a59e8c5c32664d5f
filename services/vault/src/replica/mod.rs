//! A shard as the service sees it: propose, read what is applied, wait for floors. Joining, batching and Raft are behind it.

mod batch;
mod join;
mod node;
mod staging;

pub use node::{Env, Node, NodeConfig, NodeError};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bkv_core::account::Account;
use bkv_core::command::Command;
use bkv_core::effect::{Event, Outcome};
use bkv_core::id::{AccountId, AttemptId, Element, Generation, NodeId, Ordinal, RegId, ShardId, Time};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_core::shard::Fleet;
use minicbor::{Decode, Encode};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::peer::{Admitted, Body};
use crate::raft::state::State;
use crate::raft::types::Raft;
use crate::store::StoreError;
use batch::Proposal;

/// How long a vault that steps down waits for another leader.
const ASIDE: Duration = Duration::from_secs(3);

/// Keeps z and the own share of a registration so that the disk alone shows neither. Called while entries are applied.
pub trait Keeper: Send + Sync + 'static {
    /// Masks what a Store brought. Never fails: what can't be done now (a token that is away) is kept to be done later.
    fn keep(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        z: &Secret32,
        shares: &[SealedShare],
    ) -> Vec<u8>;
    /// z in the clear and the shares still sealed, for a snapshot to another vault. None if the token is away.
    fn export(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        kept: &[u8],
    ) -> Option<(Secret32, Vec<SealedShare>)>;
}

/// Answers calls of other vaults that are not about Raft.
#[async_trait::async_trait]
pub trait PeerService: Send + Sync + 'static {
    /// The answer, or `Failed`.
    async fn handle(&self, from: NodeId, body: Body) -> Body;
}

/// An attempt that this region may evaluate once: durable outside the log that a leader can truncate.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Floor {
    /// Of the attempt.
    #[n(0)]
    pub generation: Generation,
    /// Of the attempt.
    #[n(1)]
    pub ordinal: Ordinal,
    /// Its id.
    #[n(2)]
    pub attempt: AttemptId,
    /// B.
    #[n(3)]
    pub blinded: Element,
    /// Log index of its Begin.
    #[n(4)]
    pub index: u64,
    /// This vault's own clock when it applied the Begin.
    #[n(5)]
    pub applied_ms: u64,
    /// The same of the attempt before, if there was one in this generation.
    #[n(6)]
    pub previous_applied_ms: Option<u64>,
}

/// What a proposal came to.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The state machine's answer.
    pub outcome: Outcome,
    /// Log index.
    pub index: u64,
    /// Entry time.
    pub time: Time,
}

/// Why a proposal came to nothing here. Repeating the same is free.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another vault leads, or nobody known.
    #[error("not the leader")]
    NotLeader(Option<NodeId>),
    /// No majority, no time, or shutting down. It may have been committed all the same.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The shard is stopped until a person has looked at it.
    #[error("halted: {0}")]
    Halted(String),
}

/// How a shard is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardStatus {
    /// How far joining is.
    pub phase: Phase,
    /// As far as known.
    pub leader: Option<NodeId>,
    /// Does this vault lead, and take proposals?
    pub lead: bool,
    /// Raft term.
    pub term: u64,
    /// Applied index.
    pub applied: u64,
    /// Last index.
    pub last: u64,
}

/// How far joining is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Waits for these to tell what they saw.
    Joining {
        /// Whom.
        missing: Vec<NodeId>,
    },
    /// Follows until its log reaches this index.
    CatchingUp {
        /// Index.
        until: u64,
    },
    /// Serves.
    Verified,
    /// Its disk is older than the node; it never serves with it.
    Quarantined(String),
    /// History contradicts itself.
    Halted(String),
}

/// Events behind a cursor.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// (cursor, event), in order.
    pub events: Vec<(u64, Event)>,
    /// False: the cursor is older than what is kept (or newer than all): scan first.
    pub complete: bool,
    /// The newest cursor.
    pub newest: u64,
}

/// One shard on this vault. Cheap to clone.
#[derive(Clone)]
pub struct Replica {
    pub(crate) state: State,
    pub(crate) status: Arc<watch::Sender<ShardStatus>>,
    pub(crate) raft: Arc<watch::Sender<Option<Raft>>>,
    pub(crate) proposals: mpsc::Sender<Proposal>,
    /// Until when this vault stands aside for another leader.
    pub(crate) stepping_down: Arc<Mutex<Option<Instant>>>,
    pub(crate) admitted: Admitted,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replica({})", self.state.shard)
    }
}

/// Raft has ended here; this process says why in its log, and ends.
pub(crate) fn stopping() -> ProposeError {
    ProposeError::Unavailable("this vault is stopping".into())
}

fn late() -> ProposeError {
    ProposeError::Unavailable("no answer in time".into())
}

impl Replica {
    /// Which.
    pub const fn shard(&self) -> ShardId {
        ShardId(self.state.shard)
    }

    /// The state machine under it.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Its Raft group; None until joining has decided that it may run.
    pub fn raft(&self) -> Option<Raft> {
        self.raft.borrow().clone()
    }

    /// How it is, and whenever that changes.
    pub fn status(&self) -> watch::Receiver<ShardStatus> {
        self.status.subscribe()
    }

    /// Commits a command with a majority and applies it here. Just after an election it waits for the leader to be known.
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Committed, ProposeError> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let proposal = Proposal { command, done: tx };
        let sent = timeout_at(deadline, self.proposals.send(proposal)).await.map_err(|_| late())?;
        sent.map_err(|_| ProposeError::Unavailable("shutting down".into()))?;
        timeout_at(deadline, rx)
            .await
            .map_err(|_| {
                ProposeError::Unavailable("a majority of the regions did not confirm in time".into())
            })?
            .map_err(|_| ProposeError::Unavailable("shutting down".into()))?
    }

    /// Waits until this vault has applied up to an index.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), ProposeError> {
        let mut applied = self.state.applied.subscribe();
        let reached = timeout_at(deadline, applied.wait_for(|a| *a >= index)).await;
        reached.map_err(|_| late())?.map(|_| ()).map_err(|_| late())
    }

    /// Returns once a majority has confirmed that this vault still leads and everything before is applied: what is read then is the newest.
    pub async fn confirm_leadership(&self, deadline: Instant) -> Result<(), ProposeError> {
        let raft = self.raft.borrow().clone().ok_or(ProposeError::NotLeader(None))?;
        let confirmed = timeout_at(deadline, raft.ensure_linearizable()).await.map_err(|_| late())?;
        confirmed.map(|_| ()).map_err(|e| match e {
            openraft::error::RaftError::APIError(openraft::error::CheckIsLeaderError::ForwardToLeader(f)) => {
                ProposeError::NotLeader(f.leader_id.map(NodeId))
            }
            openraft::error::RaftError::APIError(openraft::error::CheckIsLeaderError::QuorumNotEnough(q)) => {
                let regions = self.admitted.get().map_or(0, |list| list.members.len());
                let silent = regions.saturating_sub(q.got.len());
                ProposeError::Unavailable(format!("{silent} of {regions} regions do not answer"))
            }
            openraft::error::RaftError::Fatal(_) => stopping(),
        })
    }

    /// Waits until this vault has applied up to an index and has it on disk.
    pub async fn wait_durable(&self, index: u64, deadline: Instant) -> Result<(), ProposeError> {
        let mut durable = self.state.durable.subscribe();
        let reached = timeout_at(deadline, durable.wait_for(|d| *d >= index)).await;
        reached.map_err(|_| late())?.map(|_| ()).map_err(|_| late())
    }

    /// The account as this vault has applied it.
    pub fn account(&self, id: &AccountId) -> Result<Option<Arc<Account>>, StoreError> {
        self.state.account(id)
    }

    /// Whom the shard belongs to; None before Init.
    pub fn fleet(&self) -> Option<Arc<Fleet>> {
        self.state.fleet()
    }

    /// Applied index.
    pub fn applied(&self) -> u64 {
        *self.state.applied.borrow()
    }

    /// What the keeper made of a registration's secrets.
    pub fn secrets(&self, account: &AccountId, reg_id: &RegId) -> Result<Option<Vec<u8>>, StoreError> {
        self.state.secrets(account, reg_id)
    }

    /// Replaces what the keeper made.
    pub fn keep_secrets(&self, account: &AccountId, reg_id: &RegId, kept: Vec<u8>) {
        self.state.keep_secrets(account, reg_id, kept);
    }

    /// The floor of the account's newest attempt, once it is on disk: not a moment earlier may this region evaluate.
    pub async fn floor(&self, account: &AccountId, deadline: Instant) -> Result<Floor, ProposeError> {
        let unavailable = |e: StoreError| ProposeError::Unavailable(e.to_string());
        let floor = self.state.floor(account).map_err(unavailable)?;
        let floor = floor
            .ok_or_else(|| ProposeError::Unavailable("no floor: the attempt came with a snapshot".into()))?;
        let mut durable = self.state.durable.subscribe();
        let reached = timeout_at(deadline, durable.wait_for(|d| *d >= floor.index)).await;
        reached.map_err(|_| late())?.map_err(|_| late())?;
        Ok(floor)
    }

    /// Events behind a cursor.
    pub fn events_after(&self, cursor: u64, max: usize) -> Result<EventPage, StoreError> {
        let (floor, newest) = self.state.events();
        let complete = cursor >= floor && cursor <= newest;
        let events = if complete { self.state.events_after(cursor, max)? } else { Vec::new() };
        Ok(EventPage { events, complete, newest })
    }

    /// Accounts after one, in the store's order (flushed ones).
    pub fn scan(
        &self,
        after: Option<AccountId>,
        max: usize,
    ) -> Result<Vec<(AccountId, Account)>, StoreError> {
        self.state.scan(after, max)
    }

    /// Accounts whose deadline has passed.
    pub fn due(&self, now: Time, max: usize) -> Vec<AccountId> {
        self.state.due(now, max)
    }

    /// Stops heartbeats and proposals, so that another vault is elected. If none is for a while, nobody can lead but this one: it goes on.
    pub fn step_down(&self) {
        *self.stepping_down.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + ASIDE);
        self.status.send_if_modified(|s| std::mem::take(&mut s.lead));
    }

    pub(crate) fn stay(&self) {
        *self.stepping_down.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Stood aside in vain: nobody else was elected.
    pub(crate) fn resume_if_alone(&self) {
        let mut aside = self.stepping_down.lock().unwrap_or_else(PoisonError::into_inner);
        if aside.is_some_and(|until| Instant::now() >= until) && self.raft_leads() {
            *aside = None;
            self.status
                .send_if_modified(|s| s.phase == Phase::Verified && !std::mem::replace(&mut s.lead, true));
        }
    }

    pub(crate) fn is_stepping_down(&self) -> bool {
        self.stepping_down
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() < until)
    }

    /// Does Raft itself still lead here, whether it takes proposals or not?
    pub fn raft_leads(&self) -> bool {
        self.raft
            .borrow()
            .as_ref()
            .is_some_and(|r| r.metrics().borrow().state == openraft::ServerState::Leader)
    }

    /// Makes the Raft group of all vaults on the admission list. Free if it is there already.
    pub async fn initialize(&self, deadline: Instant) -> Result<(), ProposeError> {
        let mut raft = self.raft.subscribe();
        let raft = timeout_at(deadline, raft.wait_for(Option::is_some))
            .await
            .map_err(|_| late())?
            .map_err(|_| late())?
            .clone();
        let list =
            self.admitted.get().ok_or_else(|| ProposeError::Unavailable("no admission list".into()))?;
        let voters: std::collections::BTreeMap<u64, openraft::EmptyNode> =
            list.members.iter().map(|m| (m.node.0, openraft::EmptyNode {})).collect();
        let Some(raft) = raft else { return Err(late()) };
        match raft.initialize(voters).await {
            Ok(())
            | Err(openraft::error::RaftError::APIError(openraft::error::InitializeError::NotAllowed(_))) => {
                Ok(())
            }
            Err(e) => Err(ProposeError::Unavailable(e.to_string())),
        }
    }

    /// Why the shard is stopped until a person has looked at it.
    pub fn halted(&self) -> Option<String> {
        self.state.log.halted()
    }

    /// Keys that ended on this replica since it started: exhausted, deleted.
    pub fn ended(&self) -> [u64; 2] {
        let [exhausted, deleted] = self.state.ended.as_ref();
        [exhausted, deleted].map(|n| n.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// The last index that has left the log.
    pub fn purged(&self) -> u64 {
        let raft = self.raft.borrow();
        raft.as_ref().and_then(|r| r.metrics().borrow().purged).map_or(0, |id| id.index)
    }

    /// Purges the log up to the last snapshot.
    pub(crate) async fn purge_snapshotted(&self) {
        let raft = self.raft.borrow().clone();
        if let Some(raft) = raft {
            let snapshot = raft.metrics().borrow().snapshot;
            if let Some(id) = snapshot {
                let _ = raft.trigger().purge_log(id.index).await;
            }
        }
    }

    /// Makes a snapshot.
    pub async fn snapshot_now(&self) {
        let raft = self.raft.borrow().clone();
        if let Some(raft) = raft {
            let _ = raft.trigger().snapshot().await;
        }
    }
}
