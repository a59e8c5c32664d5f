//! A shard's state in the store: what is applied, and how it is read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bkv_core::account::Account;
use bkv_core::checkpoint::Checkpoint;
use bkv_core::digest::{Digest, RowNumbers};
use bkv_core::encoding::cbor;
use bkv_core::event::Event;
use bkv_core::id::{AccountId, Hash, RegId, Time};
use bkv_core::shard::{Fleet, Shard};
use bkv_core::version::Versions;
use bkv_wire::verifier::WireVerifier;
use openraft::StoredMembership;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::before::Images;
use super::book::Book;
use super::floor::Floor;
use super::keeper::Keeper;
use super::log::Log;
use super::recent::Recent;
use super::rows::{
    Head, Installed, all, certified_place, cursor, digest_place, fleet_place, head_place, read,
};
use super::transfer::Kept;
use super::types::LogId;
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
    /// Checkpoints and their signatures.
    pub(crate) book: Book,
    /// The copy of the rows that is live. A snapshot that is installed becomes the live copy in one commit.
    pub(super) copy: Arc<AtomicU32>,
    /// The highest number that a copy has had since the start.
    pub(super) copies: Arc<AtomicU32>,
    /// Keys destroyed on this replica since its start: exhausted, then deleted.
    pub(crate) ended: Arc<[AtomicU64; 2]>,
    pub(super) recent: Arc<Recent>,
    pub(super) kept: Kept,
    /// The versions of the state that the program can apply.
    pub(crate) versions: Versions,
    /// Counts this clone and its clones as a task.
    _task: Option<TaskTrackerToken>,
}

pub(super) struct Inner {
    pub(super) shard: Shard,
    /// Of all accounts.
    pub(super) digest: Digest,
    pub(super) installed: Option<Installed>,
    pub(super) fleet: Option<Arc<Fleet>>,
    pub(super) applied: Option<LogId>,
    pub(super) chain: Hash,
    pub(super) membership: StoredMembership<u64, openraft::EmptyNode>,
    pub(super) deadlines: BTreeMap<AccountId, Time>,
    /// Cursors of the kept events, oldest first. A cursor is (log index, number in the entry), the same in every replica.
    pub(super) events: VecDeque<u64>,
    /// All events after this cursor are kept.
    pub(super) feed_start: u64,
    /// The rows of the newest certified checkpoint that have changed since.
    pub(super) images: Images,
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
        wake: Arc<Notify>,
    ) -> Result<Self, StoreError> {
        let mut copy = 0;
        let mut inner = Inner {
            shard: Shard::default(),
            digest: Digest::default(),
            installed: None,
            fleet: None,
            applied: None,
            chain: Hash([0; 32]),
            membership: StoredMembership::default(),
            deadlines: BTreeMap::new(),
            events: VecDeque::new(),
            feed_start: 0,
            images: Images::default(),
        };
        if let Some(row) = store.get(&head_place(shard))? {
            let head: Head = read("head", &row)?;
            let bad = |e: prost::DecodeError| StoreError::Malformed("head".into(), e.to_string());
            inner.shard = head.shard.clone();
            let applied = head.applied().map_err(bad)?;
            log.settle(applied.index);
            inner.applied = Some(applied);
            inner.chain = head.chain;
            inner.membership = head.membership.stored().map_err(bad)?;
            (inner.installed, copy) = (head.installed, head.copy);
        }
        if let Some(row) = store.get(&digest_place(shard))? {
            inner.digest = read("digest", &row)?;
        }
        if let Some(row) = store.get(&fleet_place(shard))? {
            inner.shard.fleet = Some(read("fleet", &row)?);
        }
        inner.fleet = inner.shard.fleet.clone().map(Arc::new);
        inner.deadlines = deadlines(&store, shard, copy)?;
        inner.events = all(&store, &Place::new(Table::Event, shard, &[]))?
            .iter()
            .filter_map(|(p, _)| p.number())
            .collect();
        let applied_cursor = inner.applied.map_or(0, |a| cursor(a.index, u64::from(u16::MAX)));
        inner.feed_start = inner.events.front().map_or(applied_cursor, |first| first.saturating_sub(1));
        let applied = inner.applied.map_or(0, |a| a.index);
        let book = Book::new(wake);
        if let Some(row) = store.get(&certified_place(shard))? {
            book.restore(read("certified checkpoint", &row)?, None, || {});
        }
        inner.images = Images::open(&store, shard, book.certified_index())?;
        let state = Self {
            shard,
            store,
            log,
            keeper,
            verifier,
            clock,
            inner: Arc::new(Mutex::new(inner)),
            applied: Arc::new(watch::Sender::new(applied)),
            durable: Arc::new(watch::Sender::new(applied)),
            book,
            copy: Arc::new(AtomicU32::new(copy)),
            copies: Arc::new(AtomicU32::new(copy)),
            ended: Arc::default(),
            recent: Arc::default(),
            kept: Kept::default(),
            versions: Versions::OF_THIS_PROGRAM,
            _task: None,
        };
        // What a crash left of snapshots that were not installed, or of the copy that one has replaced.
        state.drop_other_copies()?;
        state.refresh_view();
        Ok(state)
    }

    /// The same for a program that can apply these versions.
    pub(crate) const fn of_program(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
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

    /// The copy of the rows that is live.
    pub(crate) fn live(&self) -> u32 {
        self.copy.load(Ordering::Acquire)
    }

    pub(super) fn account_place(&self, copy: u32, id: &AccountId) -> Place {
        Place::of_copy(Table::Account, self.shard, copy, &self.store.hidden(&[b"account", &id.0]))
    }

    pub(super) fn secret_place(&self, copy: u32, id: &AccountId, reg_id: &RegId) -> Place {
        let hidden = self.store.hidden(&[b"secret", &id.0, &reg_id.0]);
        Place::of_copy(Table::Secret, self.shard, copy, &hidden)
    }

    pub(super) fn floor_place(&self, id: &AccountId) -> Place {
        Place::new(Table::Floor, self.shard, &self.store.hidden(&[b"account", &id.0]))
    }

    pub(super) fn deadline_place(&self, copy: u32, id: &AccountId) -> Place {
        Place::of_copy(Table::Deadline, self.shard, copy, &self.store.hidden(&[b"account", &id.0]))
    }

    /// The account's applied state.
    pub fn account(&self, id: &AccountId) -> Result<Option<Arc<Account>>, StoreError> {
        let begun = match self.recent.get(id) {
            Ok(account) => return Ok(Some(account)),
            Err(begun) => begun,
        };
        let Some(row) = self.store.get(&self.account_place(self.live(), id))? else { return Ok(None) };
        let (_, account): (AccountId, Account) = read("account", &row)?;
        let account = Arc::new(account);
        self.recent.read(begun, *id, account.clone());
        Ok(Some(account))
    }

    /// The numbers of the account's row, if there is one. A recent account has them at hand, or their hash.
    pub(super) fn row_numbers(&self, id: &AccountId) -> Result<Option<Arc<RowNumbers>>, StoreError> {
        if let Some(known) = self.recent.row_numbers(id) {
            return Ok(Some(known));
        }
        Ok(self.account(id)?.map(|account| Arc::new(RowNumbers::of(id, &account))))
    }

    /// A registration's secrets as the keeper masked them.
    pub(crate) fn secrets(&self, id: &AccountId, reg_id: &RegId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.get(&self.secret_place(self.live(), id, reg_id))?.map(|row| row.to_vec()))
    }

    /// Replaces a registration's secrets by a better masked form, once an unavailable token is back.
    pub(crate) fn keep_secrets(&self, id: &AccountId, reg_id: &RegId, kept: Vec<u8>) {
        // Take the lock under which entries are applied: secrets that an entry has erased meanwhile must not come back (S14).
        let _applying = self.lock();
        if !self.secrets(id, reg_id).is_ok_and(|k| k.is_some()) {
            return;
        }
        self.store.write(vec![Change::put(self.secret_place(self.live(), id, reg_id), kept)], None);
    }

    /// The newest floor of an account.
    pub fn floor(&self, id: &AccountId) -> Result<Option<Floor>, StoreError> {
        self.store.get(&self.floor_place(id))?.map(|row| read("floor", &row)).transpose()
    }

    /// The last applied index, and the chain hash there.
    pub(crate) fn applied_end(&self) -> Option<(u64, Hash)> {
        let inner = self.lock();
        inner.applied.map(|id| (id.index, inner.chain))
    }

    /// The last applied entry.
    pub(crate) fn applied_id(&self) -> Option<LogId> {
        self.lock().applied
    }

    pub(crate) fn fleet(&self) -> Option<Arc<Fleet>> {
        self.lock().fleet.clone()
    }

    /// The version of the state in force. None before `Init`.
    pub fn version(&self) -> Option<u32> {
        self.lock().shard.version()
    }

    /// The version of the entries that this vault makes as a leader. A new fleet begins with the oldest that its program can apply.
    pub(crate) fn encodes(&self) -> u32 {
        self.version().unwrap_or(self.versions.oldest)
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
        let copy = self.live();
        let after = after.map(|id| self.account_place(copy, &id));
        let prefix = Place::of_copy(Table::Account, self.shard, copy, &[]);
        let rows = self.store.view()?.rows_under(&prefix, after.as_ref(), max)?;
        rows.iter().map(|(_, row)| read("account", row)).collect()
    }

    /// Renews the view of a checkpoint behind which the shard has not changed. An old view keeps the pages that other shards have replaced since.
    pub(crate) fn refresh_view(&self) {
        self.book.drop_old_views();
        let inner = self.lock();
        let (Some(applied), Some(fleet)) = (inner.applied, inner.fleet.clone()) else { return };
        let on_disk = *self.durable.borrow() >= applied.index;
        if on_disk
            && self.book.newest() == applied.index
            && let Ok(view) = self.store.view()
        {
            self.book.refreshed(applied.index, fleet, self.live(), view);
        }
    }

    /// True if this is the live copy.
    pub(crate) fn is_live(&self, copy: u32) -> bool {
        self.live() == copy
    }

    /// The time of the last entry applied.
    pub(crate) fn time(&self) -> Time {
        self.lock().shard.time
    }

    /// The shard's state without its accounts.
    pub(crate) fn head(&self) -> Shard {
        self.lock().shard.clone()
    }

    /// Makes the newest certificate durable.
    pub(crate) fn keep_certified(&self) {
        let mut inner = self.lock();
        self.book.write_certified(|stored| {
            let mut changes = inner.images.certified(self.shard, stored.certificate.checkpoint.index);
            changes.push(Change::put(certified_place(self.shard), cbor(&stored)));
            self.store.write(changes, None);
        });
    }

    /// The newest checkpoint that this replica has reached.
    pub fn newest_checkpoint(&self) -> Option<Checkpoint> {
        self.book.newest_checkpoint()
    }

    /// Index of the newest certified checkpoint.
    pub fn certified_index(&self) -> Option<u64> {
        self.book.certified_index()
    }

    /// After a snapshot an attempt may be open whose Begin this replica has not applied. The state that t regions have signed becomes its floor, unless its own floor is
    /// as high: a region evaluates one attempt of each ordinal, ever.
    ///
    /// True if the floor may not be on the disk yet. It must be before this region evaluates.
    pub(crate) fn adopt_floor(&self, id: &AccountId) -> Result<(Option<Floor>, bool), StoreError> {
        let inner = self.lock();
        let floor = self.floor(id)?;
        let Some(installed) = inner.installed else { return Ok((floor, false)) };
        let Some(account) = self.account(id)? else { return Ok((floor, false)) };
        let Some(adopted) = Floor::adopted(&account, floor.as_ref(), installed) else {
            // Another call may have adopted it a moment ago.
            return Ok((floor, account.pending.as_ref().is_some_and(|p| p.index <= installed.index)));
        };
        self.store.write(vec![Change::put(self.floor_place(id), cbor(&adopted))], None);
        Ok((Some(adopted), true))
    }
}

/// All deadlines of a copy.
pub(super) fn deadlines(
    store: &Store,
    shard: u16,
    copy: u32,
) -> Result<BTreeMap<AccountId, Time>, StoreError> {
    let rows = all(store, &Place::of_copy(Table::Deadline, shard, copy, &[]))?;
    rows.iter().map(|(_, row)| read("deadline", row)).collect()
}
