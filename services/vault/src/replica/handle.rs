//! One shard as the service uses it: propose, read the applied state, wait for floors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bkv_core::account::Account;
use bkv_core::command::Command;
use bkv_core::encoding::cbor;
use bkv_core::event::Event;
use bkv_core::id::{AccountId, NodeId, RegId, ShardId, Time};
use bkv_core::shard::{At, Fleet, owner_signed};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::arriving::Arriving;
use super::confirmation::Confirmations;
use super::proposal::{Committed, Proposal, ProposeError, Waiting, late, stopping};
use super::silence::Silence;
use super::status::{Phase, ShardStatus};
use super::under_way::{ProposalPermit, UnderWay, accepted_when_full, is_counted};
use super::versions::Newer;
use crate::peer::{Admitted, Peers};
use crate::raft::floor::Floor;
use crate::raft::granted_votes::GrantedVotes;
use crate::raft::mandates::Mandates;
use crate::raft::overtaken::Overtaken;
use crate::raft::state::State;
use crate::raft::stop::Stop;
use crate::raft::types::Raft;
use crate::store::StoreError;
use crate::volume::Volume;

/// How long a vault that steps down waits for another leader, beside four round trips: patience, question, vote and first entry.
const STEP_DOWN: Duration = Duration::from_secs(3);

type NotConfirmed =
    openraft::error::RaftError<u64, openraft::error::CheckIsLeaderError<u64, openraft::EmptyNode>>;

/// A page of events after a cursor.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// (cursor, event), in order.
    pub events: Vec<(u64, Event)>,
    /// False if the cursor is older than the kept events, or newer than all of them: the reader must scan first.
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
    pub(crate) under_way: Arc<UnderWay>,
    pub(crate) volume: Arc<Volume>,
    /// Until this time the vault neither sends heartbeats nor takes proposals, so that another vault is elected.
    pub(crate) stepping_down: Arc<Mutex<Option<Instant>>>,
    pub(crate) admitted: Admitted,
    pub(crate) confirmations: Arc<Confirmations>,
    /// Held from the comparison of an append until Raft has taken it. Otherwise two appends of one sender could each fit, and the second contradict the first.
    pub(crate) appending: Arc<tokio::sync::Mutex<()>>,
    /// Held until Raft has answered a request for a vote. Otherwise requests that come at once could each find that the peer may have one more.
    pub(crate) granted_votes: Arc<tokio::sync::Mutex<GrantedVotes>>,
    pub(crate) overtaken: Overtaken,
    pub(crate) arriving: Arriving,
    pub(crate) silence: Silence,
    pub(crate) peers: Peers,
    pub(crate) mandates: Mandates,
    /// The last index that the leader calls committed, whether it is here yet or not.
    pub(crate) leader_committed: Arc<AtomicU64>,
    /// Versions of the state that are not applied here.
    pub(crate) newer: Newer,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replica({})", self.state.shard)
    }
}

impl Replica {
    /// The shard's id.
    pub const fn shard(&self) -> ShardId {
        ShardId(self.state.shard)
    }

    /// The state machine under it.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The shard's Raft group. None until joining has allowed it to start.
    pub fn raft(&self) -> Option<Raft> {
        self.raft.borrow().clone()
    }

    /// The shard's status, and every change of it.
    pub fn status(&self) -> watch::Receiver<ShardStatus> {
        self.status.subscribe()
    }

    /// Commits a command with a majority and applies it on this vault. Just after an election it waits until a leader is known.
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Committed, ProposeError> {
        // The other replicas refuse an entry with an oversized command, and then the shard would stand still.
        command.check_size()?;
        if self.volume.refuses() && !accepted_when_full(&command) && !self.is_repetition(&command) {
            return Err(ProposeError::Full);
        }
        let permit = self.permit(&command)?;
        let size = Zeroizing::new(cbor(&command)).len();
        let (tx, rx) = tokio::sync::oneshot::channel();
        let proposal = Proposal { command, size, waiting: Waiting { done: tx, permit } };
        let sent = timeout_at(deadline, self.proposals.send(proposal)).await.map_err(|_| late())?;
        sent.map_err(|_| ProposeError::Unavailable("shutting down".into()))?;
        timeout_at(deadline, rx)
            .await
            .map_err(|_| {
                ProposeError::Unavailable("a majority of the regions did not confirm in time".into())
            })?
            .map_err(|_| ProposeError::Unavailable("shutting down".into()))?
    }

    /// True for the Begin of the open attempt. A client repeats it to get evaluations. If the vault refused the repetition, the charged attempt
    /// would fail at its deadline. A failed last try destroys the key.
    fn is_repetition(&self, command: &Command) -> bool {
        let Command::Begin(begin) = command else { return false };
        let account = self.account(&begin.account).ok().flatten();
        account.and_then(|a| a.pending.as_ref().map(|p| p.attempt == begin.attempt)).unwrap_or(false)
    }

    /// The permit for one more proposal of the account. None for a command that is not counted.
    fn permit(&self, command: &Command) -> Result<Option<ProposalPermit>, ProposeError> {
        let Some(id) = command.account().filter(|_| is_counted(command)) else { return Ok(None) };
        if self.is_owner_signed(&id, command) {
            return Ok(None);
        }
        self.under_way.enter(id).map(Some).ok_or(ProposeError::Busy)
    }

    /// True if the live owner key signed the command. An attacker who has only the account's token can't make such a signature.
    fn is_owner_signed(&self, id: &AccountId, command: &Command) -> bool {
        let (Some(fleet), Ok(Some(account))) = (self.fleet(), self.account(id)) else { return false };
        let at = At { shard: self.state.shard, index: 0, time: Time(self.state.clock.now_ms()) };
        owner_signed(&fleet, at, &account, command, self.state.verifier.as_ref())
    }

    /// Waits until this vault has applied up to an index.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), ProposeError> {
        let mut applied = self.state.applied.subscribe();
        let reached = timeout_at(deadline, applied.wait_for(|a| *a >= index)).await;
        reached.map_err(|_| late())?.map(|_| ()).map_err(|_| late())
    }

    /// Returns once a majority has confirmed that this vault still leads and everything before is applied. A read after that sees the newest state.
    pub async fn confirm_leadership(&self, deadline: Instant) -> Result<(), ProposeError> {
        let raft = self.raft.borrow().clone().ok_or(ProposeError::NotLeader(None))?;
        let confirm = || async {
            let confirmed = raft.get_read_log_id().await;
            confirmed.map(|(read, _)| read.map_or(0, |id| id.index)).map_err(|e| self.not_confirmed(e))
        };
        let index = timeout_at(deadline, self.confirmations.share(confirm)).await.map_err(|_| late())??;
        // Each reader waits outside of the shared confirmation. Otherwise later readers would wait until a slow entry is applied that only earlier readers need.
        self.wait_applied(index, deadline).await
    }

    fn not_confirmed(&self, e: NotConfirmed) -> ProposeError {
        match e {
            openraft::error::RaftError::APIError(openraft::error::CheckIsLeaderError::ForwardToLeader(f)) => {
                ProposeError::NotLeader(f.leader_id.map(NodeId))
            }
            openraft::error::RaftError::APIError(openraft::error::CheckIsLeaderError::QuorumNotEnough(q)) => {
                let regions = self.admitted.get().map_or(0, |list| list.members.len());
                let silent = regions.saturating_sub(q.got.len());
                ProposeError::Unavailable(format!("{silent} of {regions} regions do not answer"))
            }
            openraft::error::RaftError::Fatal(_) => stopping(),
        }
    }

    /// Waits until this vault has applied up to an index and stored it on disk.
    pub async fn wait_durable(&self, index: u64, deadline: Instant) -> Result<(), ProposeError> {
        let mut durable = self.state.durable.subscribe();
        let reached = timeout_at(deadline, durable.wait_for(|d| *d >= index)).await;
        reached.map_err(|_| late())?.map(|_| ()).map_err(|_| late())
    }

    /// The account as this vault has applied it.
    pub fn account(&self, id: &AccountId) -> Result<Option<Arc<Account>>, StoreError> {
        self.state.account(id)
    }

    /// The fleet of the shard. None before Init.
    pub fn fleet(&self) -> Option<Arc<Fleet>> {
        self.state.fleet()
    }

    /// Applied index.
    pub fn applied(&self) -> u64 {
        *self.state.applied.borrow()
    }

    /// A registration's secrets as the keeper masked them.
    pub fn secrets(&self, account: &AccountId, reg_id: &RegId) -> Result<Option<Vec<u8>>, StoreError> {
        self.state.secrets(account, reg_id)
    }

    /// Replaces a registration's secrets by a better masked form.
    pub fn keep_secrets(&self, account: &AccountId, reg_id: &RegId, kept: Vec<u8>) {
        self.state.keep_secrets(account, reg_id, kept);
    }

    /// The floor of the account's newest attempt, once it is on disk. This region must not evaluate before that.
    pub async fn floor(&self, account: &AccountId, deadline: Instant) -> Result<Floor, ProposeError> {
        let unavailable = |e: StoreError| ProposeError::Unavailable(e.to_string());
        let (floor, new) = self.state.adopt_floor(account).map_err(unavailable)?;
        let floor = floor.ok_or_else(|| ProposeError::Unavailable("no attempt was applied here".into()))?;
        if new {
            self.state.store.flush().await.map_err(unavailable)?;
        }
        self.wait_durable(floor.index, deadline).await?;
        Ok(floor)
    }

    /// Events behind a cursor.
    pub fn events_after(&self, cursor: u64, max: usize) -> Result<EventPage, StoreError> {
        let (start, newest) = self.state.events();
        let complete = cursor >= start && cursor <= newest;
        let events = if complete { self.state.events_after(cursor, max)? } else { Vec::new() };
        Ok(EventPage { events, complete, newest })
    }

    /// Accounts after `after`, in the store's order. Only accounts that are on disk.
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

    /// Stops heartbeats and proposals, so that another vault is elected. If no other vault is elected within `STEP_DOWN`, this one resumes.
    pub fn step_down(&self) {
        *self.stepping_down.lock() = Some(self.peers.deadline(STEP_DOWN, 4));
        self.status.send_if_modified(|s| std::mem::take(&mut s.lead));
    }

    /// Ends stepping down: another vault leads, or Raft does not lead here for another reason.
    pub(crate) fn end_step_down(&self) {
        *self.stepping_down.lock() = None;
    }

    /// Resumes leadership if no other vault was elected in time.
    pub(crate) fn resume_if_alone(&self) {
        let mut stepping_down = self.stepping_down.lock();
        if stepping_down.is_some_and(|until| Instant::now() >= until) && self.raft_leads() {
            *stepping_down = None;
            self.status
                .send_if_modified(|s| s.phase == Phase::Verified && !std::mem::replace(&mut s.lead, true));
        }
    }

    pub(crate) fn is_stepping_down(&self) -> bool {
        self.stepping_down.lock().is_some_and(|until| Instant::now() < until)
    }

    /// True if Raft still leads on this vault, even if it takes no proposals.
    pub fn raft_leads(&self) -> bool {
        self.raft
            .borrow()
            .as_ref()
            .is_some_and(|r| r.metrics().borrow().state == openraft::ServerState::Leader)
    }

    /// Creates the Raft group of all vaults on the admission list. Does nothing if it exists already.
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

    /// Whether this replica may become leader by itself. Tests hold it back.
    pub fn stand_for_election(&self, stands: bool) {
        self.silence.stand(stands);
    }

    /// True if this replica may speak for its state: it evaluates, attests and acknowledges. Until it has shown that its disk is not an old one, its state
    /// may be older than what it has told before, and a leader of its own choice could feed it a made-up history.
    pub fn is_verified(&self) -> bool {
        self.status.borrow().phase == Phase::Verified && self.left_behind().is_none()
    }

    /// Why the shard has stopped until an operator has looked at it.
    pub fn stopped(&self) -> Option<Stop> {
        self.state.log.stopped()
    }

    /// Halts the shard, restarts included. The caller must have a proof: t vaults have signed another state for the same history. A message of one vault
    /// is no proof.
    pub fn halt(&self, why: String) {
        self.state.log.halt(why);
        if let Some(stop) = self.state.log.stopped() {
            self.status.send_modify(|s| {
                s.lead = false;
                s.phase = Phase::from(&stop);
            });
        }
    }

    /// Keys destroyed on this replica since its start: exhausted, then deleted.
    pub fn ended(&self) -> [u64; 2] {
        let [exhausted, deleted] = self.state.ended.as_ref();
        [exhausted, deleted].map(|n| n.load(Ordering::Relaxed))
    }

    /// Since the start: checkpoints without t equal states, regions that signed two states, snapshots refused, snapshots that could not be sent.
    pub fn troubles(&self) -> [u64; 4] {
        let c = &self.state.book.counts;
        [&c.split, &c.two_faced, &c.refused, &c.unsent].map(|n| n.load(Ordering::Relaxed))
    }

    /// The last index that was purged from the log.
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
