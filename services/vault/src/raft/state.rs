//! A shard's state in the store: what is applied, and how it is read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bkv_core::account::Account;
use bkv_core::effect::Event;
use bkv_core::id::{AccountId, Hash, RegId, Time};
use bkv_core::shard::{Fleet, Shard};
use bkv_wire::proto::peer as p;
use bkv_wire::verifier::WireVerifier;
use openraft::StoredMembership;
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::floor::Floor;
use super::keeper::Keeper;
use super::log::Log;
use super::recent::Recent;
use super::rows::{all, cursor, fleet_place, head_place, read, stored_membership};
use super::snapshot::Head;
use super::types::{LogId, log_id_in};
use crate::env::Clock;
use crate::store::{Change, Place, Store, StoreError, Table};

/// A shard's state. Cheap to clone: openraft has one clone, the replica that serves reads has another.
#[derive(Clone)]
pub struct State {
    pub(crate) shard: u16,
    pub(crate) store: Store,
    pub(crate) log: Log,
    pub(crate) keeper: Arc<dyn Keeper>,
    pub(crate) verifier: Arc<WireVerifier>,
    pub(crate) clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
    /// The last applied index, in memory.
    pub(crate) applied: Arc<watch::Sender<u64>>,
    /// The last applied index that is on disk, together with its floors.
    pub(crate) durable: Arc<watch::Sender<u64>>,
    /// Asks the other voters about one account while a snapshot is judged.
    pub(crate) voters: Arc<dyn AskVoters>,
    /// Keys destroyed on this replica since its start: exhausted, then deleted.
    pub(crate) ended: Arc<[AtomicU64; 2]>,
    pub(super) recent: Arc<Recent>,
    /// Counts this clone and its clones as a task.
    _task: Option<TaskTrackerToken>,
}

/// Asks other voters directly about an account.
#[async_trait::async_trait]
pub trait AskVoters: Send + Sync {
    /// True if t voters report exactly this state of the account.
    async fn agree(&self, shard: u16, id: &AccountId, digest: &Hash) -> bool;
}

pub(super) struct Inner {
    pub(super) shard: Shard,
    pub(super) fleet: Option<Arc<Fleet>>,
    pub(super) applied: Option<LogId>,
    pub(super) chain: Hash,
    pub(super) membership: StoredMembership<u64, openraft::EmptyNode>,
    pub(super) deadlines: BTreeMap<AccountId, Time>,
    /// Cursors of the kept events, oldest first. A cursor is (log index, number in the entry), the same in every replica.
    pub(super) events: VecDeque<u64>,
    /// All events after this cursor are kept.
    pub(super) feed_start: u64,
}

impl State {
    /// Reads the shard's state from the store.
    pub fn open(
        log: Log,
        shard: u16,
        store: Store,
        keeper: Arc<dyn Keeper>,
        verifier: Arc<WireVerifier>,
        clock: Arc<dyn Clock>,
        voters: Arc<dyn AskVoters>,
    ) -> Result<Self, StoreError> {
        let mut inner = Inner {
            shard: Shard::default(),
            fleet: None,
            applied: None,
            chain: Hash([0; 32]),
            membership: StoredMembership::default(),
            deadlines: BTreeMap::new(),
            events: VecDeque::new(),
            feed_start: 0,
        };
        if let Some(row) = store.get(&head_place(shard))? {
            let head: Head = read("head", &row)?;
            let bad = |e: prost::DecodeError| StoreError::Malformed("head".into(), e.to_string());
            inner.shard = head.shard.clone();
            inner.applied = Some(log_id_in(&p::LogId::decode(&head.applied[..]).map_err(bad)?));
            inner.chain = head.chain;
            inner.membership = stored_membership(&head).map_err(bad)?;
        }
        if let Some(row) = store.get(&fleet_place(shard))? {
            inner.shard.fleet = Some(read("fleet", &row)?);
        }
        inner.fleet = inner.shard.fleet.clone().map(Arc::new);
        for (_, row) in all(&store, Table::Deadline, shard)? {
            let (id, at): (AccountId, Time) = read("deadline", &row)?;
            inner.deadlines.insert(id, at);
        }
        inner.events = all(&store, Table::Event, shard)?.iter().filter_map(|(p, _)| p.number()).collect();
        let applied_cursor = inner.applied.map_or(0, |a| cursor(a.index, u64::from(u16::MAX)));
        inner.feed_start = inner.events.front().map_or(applied_cursor, |first| first.saturating_sub(1));
        let applied = inner.applied.map_or(0, |a| a.index);
        Ok(Self {
            shard,
            store,
            log,
            keeper,
            verifier,
            clock,
            inner: Arc::new(Mutex::new(inner)),
            applied: Arc::new(watch::Sender::new(applied)),
            durable: Arc::new(watch::Sender::new(applied)),
            voters,
            ended: Arc::default(),
            recent: Arc::default(),
            _task: None,
        })
    }

    /// The store that holds this state.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The shard's log.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// A clone for openraft: the tracker waits for its tasks, as long as they hold the clone or its log.
    pub(crate) fn counted(&self, tasks: &TaskTracker) -> Self {
        Self { _task: Some(tasks.token()), log: self.log.counted(tasks), ..self.clone() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(super) fn account_place(&self, id: &AccountId) -> Place {
        Place::new(Table::Account, self.shard, &self.store.hidden(&[b"account", &id.0]))
    }

    pub(super) fn secret_place(&self, id: &AccountId, reg_id: &RegId) -> Place {
        Place::new(Table::Secret, self.shard, &self.store.hidden(&[b"secret", &id.0, &reg_id.0]))
    }

    pub(super) fn floor_place(&self, id: &AccountId) -> Place {
        Place::new(Table::Floor, self.shard, &self.store.hidden(&[b"account", &id.0]))
    }

    pub(super) fn deadline_place(&self, id: &AccountId) -> Place {
        Place::new(Table::Deadline, self.shard, &self.store.hidden(&[b"account", &id.0]))
    }

    /// The account's applied state.
    pub fn account(&self, id: &AccountId) -> Result<Option<Arc<Account>>, StoreError> {
        let begun = match self.recent.get(id) {
            Ok(account) => return Ok(Some(account)),
            Err(begun) => begun,
        };
        let Some(row) = self.store.get(&self.account_place(id))? else { return Ok(None) };
        let (_, account): (AccountId, Account) = read("account", &row)?;
        let account = Arc::new(account);
        self.recent.read(begun, *id, account.clone());
        Ok(Some(account))
    }

    /// A registration's secrets as the keeper masked them.
    pub(crate) fn secrets(&self, id: &AccountId, reg_id: &RegId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.get(&self.secret_place(id, reg_id))?.map(|row| row.to_vec()))
    }

    /// Replaces a registration's secrets by a better masked form, once an unavailable token is back.
    pub(crate) fn keep_secrets(&self, id: &AccountId, reg_id: &RegId, kept: Vec<u8>) {
        // Take the lock under which entries are applied: secrets that an entry has erased meanwhile must not come back (S14).
        let _applying = self.lock();
        if !self.secrets(id, reg_id).is_ok_and(|k| k.is_some()) {
            return;
        }
        self.store.write(vec![Change::put(self.secret_place(id, reg_id), kept)], None);
    }

    /// The newest floor of an account.
    pub fn floor(&self, id: &AccountId) -> Result<Option<Floor>, StoreError> {
        self.store.get(&self.floor_place(id))?.map(|row| read("floor", &row)).transpose()
    }

    /// The last applied entry.
    pub(crate) fn applied_id(&self) -> Option<LogId> {
        self.lock().applied
    }

    pub(crate) fn fleet(&self) -> Option<Arc<Fleet>> {
        self.lock().fleet.clone()
    }

    /// Accounts whose deadline has passed.
    pub(crate) fn due(&self, now: Time, max: usize) -> Vec<AccountId> {
        self.lock().deadlines.iter().filter(|(_, at)| **at < now).map(|(id, _)| *id).take(max).collect()
    }

    /// (cursor after which all events are kept, newest cursor).
    pub(crate) fn events(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.feed_start, inner.events.back().copied().unwrap_or(inner.feed_start))
    }

    /// Events after a cursor, in order, from the disk.
    pub(crate) fn events_after(&self, cursor: u64, max: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let after = Place::numbered(Table::Event, self.shard, cursor);
        let rows = self.store.rows(Table::Event, self.shard, Some(&after), max)?;
        rows.iter().map(|(p, row)| Ok((p.number().unwrap_or(0), read("event", row)?))).collect()
    }

    /// Accounts in the order of their hidden ids.
    pub(crate) fn scan(
        &self,
        after: Option<AccountId>,
        max: usize,
    ) -> Result<Vec<(AccountId, Account)>, StoreError> {
        let after = after.map(|id| self.account_place(&id));
        let rows = self.store.rows(Table::Account, self.shard, after.as_ref(), max)?;
        rows.iter().map(|(_, row)| read("account", row)).collect()
    }
}
