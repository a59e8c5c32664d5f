//! The Raft log in the store. Each entry is sealed with its chain hash. Recent entries are also kept in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bkv_core::batch::Batch;
use bkv_core::encoding::cbor;
use bkv_core::id::Hash;
use bkv_core::join::{Ballot, LogPosition};
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use openraft::storage::{LogFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{AnyError, EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, StorageError, StorageIOError};
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::evidence::Evidence;
use super::log_row::{read_row, read_tail, row_of, tail_row};
use super::rows::read;
use super::sizes::APPEND_SENT;
use super::stop::Stop;
use super::types::{Entry, LogId, TypeConfig, Vote, ballot, chain, content, vote_in, vote_out};
use crate::store::{Change, Done, Place, Store, StoreError, Table};

#[path = "log_stop.rs"]
mod log_stop;

/// Bytes of entries kept in memory. Followers that keep up and the state machine read only entries newer than this.
const CACHE: usize = 1 << 20;

/// A shard's log. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    shard: u16,
    store: Store,
    inner: Arc<Mutex<Inner>>,
    /// What leaders have signed.
    pub(crate) evidence: Arc<Evidence>,
    /// Counts this clone and its clones as a task.
    _task: Option<TaskTrackerToken>,
}

#[derive(Default)]
struct Inner {
    /// Recent entries with their chain hash and size.
    recent: BTreeMap<u64, (Entry, Hash, usize)>,
    bytes: usize,
    last: Option<(LogId, Hash)>,
    purged: Option<(LogId, Hash)>,
    vote: Option<Vote>,
    /// Log index of the highest floor. Entries up to it are never truncated.
    highest_floor: u64,
    /// Index of the highest entry that this process calls committed. It is never truncated either. None: nothing is committed yet.
    settled: Option<u64>,
    /// Set when the replica has stopped. The vault then passes no call of another vault to Raft, and does not start Raft for this shard.
    stopped: Option<Stop>,
    /// The vote under which entries were removed last.
    truncated: Ballot,
    /// Acknowledgements up to here no longer quarantine this disk.
    excused: LogPosition,
    /// The root's newest lift of a stop of this shard. Empty if there was none.
    lift: Bytes,
}

type Io<T> = Result<T, StorageError<u64>>;

pub(crate) fn io_error(verb: ErrorVerb, e: &StoreError) -> StorageError<u64> {
    StorageIOError::new(ErrorSubject::Store, verb, AnyError::new(e)).into()
}

fn purged_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"purged")
}

fn vote_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"vote")
}

fn floor_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"floor")
}

fn stopped_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"stopped")
}

fn truncated_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"truncated")
}

fn lift_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"lift")
}

fn excused_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"excused")
}

impl Log {
    /// Reads the shard's log from the store.
    pub fn open(shard: u16, store: Store) -> Result<Self, StoreError> {
        let mut inner = Inner::default();
        if let Some(row) = store.get(&purged_place(shard))? {
            inner.purged = Some(read_tail(&row)?);
            inner.last = inner.purged;
        }
        if let Some(row) = store.get(&vote_place(shard))? {
            let v = p::Vote::decode(row.as_slice()).ok();
            // A committed vote of its own would make openraft lead at once, without an election. With an outdated disk that would fork the shard.
            inner.vote = vote_in(v).ok().map(|v| Vote { committed: false, ..v });
        }
        if let Some(row) = store.get(&floor_place(shard))? {
            inner.highest_floor = row.as_slice().try_into().map_or(0, u64::from_be_bytes);
        }
        let row = |place| store.get(&place);
        inner.stopped = row(stopped_place(shard))?.map(|r| read("stopped", &r)).transpose()?;
        let truncated = row(truncated_place(shard))?.map(|r| read("truncated", &r)).transpose()?;
        inner.truncated = truncated.unwrap_or_default();
        let excused = row(excused_place(shard))?.map(|r| read("excused", &r)).transpose()?;
        inner.excused = excused.unwrap_or_default();
        inner.lift = row(lift_place(shard))?.map(|r| Bytes::copy_from_slice(&r)).unwrap_or_default();
        let mut after: Option<Place> = None;
        loop {
            let rows = store.rows(Table::Log, shard, after.as_ref(), 512)?;
            let Some((place, _)) = rows.last() else { break };
            after = Some(place.clone());
            for (_, row) in &rows {
                let (entry, hash) = read_row(row)?;
                inner.last = Some((entry.log_id, hash));
                inner.remember(entry, hash, row.len());
            }
        }
        let evidence = Arc::new(Evidence::open(shard, &store)?);
        Ok(Self { shard, store, inner: Arc::new(Mutex::new(inner)), evidence, _task: None })
    }

    /// A clone that the tracker counts as a task.
    pub(crate) fn counted(&self, tasks: &TaskTracker) -> Self {
        Self { _task: Some(tasks.token()), ..self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// The last entry's id and chain hash.
    pub fn last(&self) -> Option<(LogId, Hash)> {
        self.lock().last
    }

    /// The saved vote. It is uncommitted after a start, even if this vault led.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.lock().vote
    }

    /// Adopts a vote learned while joining, if it is higher. Durable when it returns.
    pub(crate) async fn adopt(&self, vote: Vote) -> Result<(), StoreError> {
        if self.lock().vote.is_some_and(|v| v >= vote) {
            return Ok(());
        }
        self.lock().vote = Some(vote);
        let row = vote_out(&vote).encode_to_vec();
        self.store.write(vec![Change::put(vote_place(self.shard), row)], None);
        self.store.flush().await
    }

    /// The chain hash at `id`, if the log holds exactly that entry.
    pub(crate) fn chain_at(&self, id: &LogId) -> Result<Option<Hash>, StoreError> {
        {
            let inner = self.lock();
            for known in [inner.last, inner.purged].into_iter().flatten() {
                if known.0 == *id {
                    return Ok(Some(known.1));
                }
            }
            if let Some((e, h, _)) = inner.recent.get(&id.index) {
                return Ok((e.log_id == *id).then_some(*h));
            }
        }
        let Some(row) = self.store.get(&Place::numbered(Table::Log, self.shard, id.index))? else {
            return Ok(None);
        };
        let (entry, hash) = read_row(&row)?;
        Ok((entry.log_id == *id).then_some(hash))
    }

    /// The id of the entry at this index, if the log still has it.
    pub(crate) fn id_at(&self, index: u64) -> Result<Option<LogId>, StoreError> {
        {
            let inner = self.lock();
            let known = [inner.last, inner.purged].into_iter().flatten().find(|k| k.0.index == index);
            if let Some((id, _)) = known {
                return Ok(Some(id));
            }
            if let Some((e, ..)) = inner.recent.get(&index) {
                return Ok(Some(e.log_id));
            }
        }
        let row = self.store.get(&Place::numbered(Table::Log, self.shard, index))?;
        row.map(|row| read_row(&row).map(|(entry, _)| entry.log_id)).transpose()
    }

    /// The chain hash at this index, if the log still has it.
    pub(crate) fn chain_at_index(&self, index: u64) -> Option<Hash> {
        let id = self.id_at(index).ok().flatten()?;
        self.chain_at(&id).ok().flatten()
    }

    /// What stands in the chain hash for each of the entries behind `from` up to `to`. None if there are more than `most`, or if the log does not have them any more.
    pub(crate) fn contents(&self, from: u64, to: u64, most: usize) -> Option<Vec<Hash>> {
        usize::try_from(to.checked_sub(from)?).ok().filter(|count| *count <= most)?;
        // One entry at a time: each may have a MiB.
        let one = |index: u64| self.read_range(index, index.checked_add(1)?, usize::MAX).ok()?.pop();
        (from.checked_add(1)?..=to).map(|index| one(index).as_ref().map(content)).collect()
    }

    /// The first of these entries, which follow history `behind`, that contradicts this log: other content under the same id, or another entry at an
    /// settled index. openraft 0.9.25 takes such entries for known and acknowledges them. With debug assertions it panics.
    pub(crate) fn rewritten(&self, behind: Hash, entries: &[Entry], settled: Option<u64>) -> Option<LogId> {
        let last = self.last().map_or(0, |l| l.0.index);
        let unsettled = |index| settled.is_none_or(|settled| index > settled);
        // Looked up after the entry was not found, because a purge may run beside this.
        let purged = |index| self.lock().purged.is_some_and(|p| index <= p.0.index);
        let mut hash = behind;
        for e in entries.iter().take_while(|e| e.log_id.index <= last) {
            hash = chain(&hash, e);
            let same = match self.chain_at(&e.log_id) {
                Ok(Some(ours)) => ours == hash,
                Ok(None) => unsettled(e.log_id.index) || purged(e.log_id.index),
                Err(_) => true, // a disk error: Raft will meet it too
            };
            if !same {
                return Some(e.log_id);
            }
        }
        None
    }

    /// Entries up to here are committed.
    pub(crate) fn settle(&self, index: u64) {
        let mut inner = self.lock();
        inner.settled = inner.settled.max(Some(index));
    }

    /// Records that a floor stands on this entry. The returned change goes to disk together with the floor.
    pub(crate) fn raise_floor(&self, index: u64) -> Option<Change> {
        let mut inner = self.lock();
        (index > inner.highest_floor).then(|| {
            inner.highest_floor = index;
            Change::put(floor_place(self.shard), index.to_be_bytes().to_vec())
        })
    }

    /// Restarts the log behind a snapshot. The returned changes go to disk together with the snapshot.
    pub(crate) fn restart_at(&self, id: LogId, hash: Hash) -> Vec<Change> {
        let mut inner = self.lock();
        let from = inner.purged.map_or(0, |(p, _)| p.index);
        let to = inner.last.map_or(0, |(l, _)| l.index);
        // Keep the entries behind the snapshot that follow from it. openraft truncates those that don't.
        let keep = inner.recent.split_off(&(id.index + 1));
        inner.recent = keep;
        inner.bytes = inner.recent.values().map(|(_, _, b)| *b).sum();
        inner.purged = Some((id, hash));
        inner.settled = inner.settled.max(Some(id.index));
        if to <= id.index {
            inner.last = Some((id, hash));
        }
        let mut changes: Vec<Change> = (from..=to.min(id.index))
            .map(|i| Change::remove(Place::numbered(Table::Log, self.shard, i)))
            .collect();
        changes.push(Change::put(purged_place(self.shard), tail_row(&id, &hash)));
        changes
    }

    /// The entries of a range, but no more after `most` bytes. A range that is not empty gives at least one.
    pub(crate) fn read_range(&self, from: u64, to: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        let mut bytes = 0usize;
        let first_recent = {
            let inner = self.lock();
            inner.recent.keys().next().copied().unwrap_or(u64::MAX)
        };
        for index in from..to.min(first_recent) {
            if let Some(row) = self.store.get(&Place::numbered(Table::Log, self.shard, index))? {
                if !found.is_empty() && bytes.saturating_add(row.len()) > most {
                    return Ok(found);
                }
                bytes = bytes.saturating_add(row.len());
                found.push(read_row(&row)?.0);
            }
        }
        let inner = self.lock();
        let start = from.max(first_recent);
        if start < to {
            for (e, _, size) in inner.recent.range(start..to).map(|(_, recent)| recent) {
                if !found.is_empty() && bytes.saturating_add(*size) > most {
                    break;
                }
                bytes = bytes.saturating_add(*size);
                found.push(e.clone());
            }
        }
        Ok(found)
    }
}

impl Inner {
    fn remember(&mut self, entry: Entry, hash: Hash, size: usize) {
        self.bytes += size;
        self.recent.insert(entry.log_id.index, (entry, hash, size));
        while self.bytes > CACHE
            && let Some((_, (_, _, size))) = self.recent.pop_first()
        {
            self.bytes -= size;
        }
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(i) => *i,
        Bound::Excluded(i) => i + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(i) => i + 1,
        Bound::Excluded(i) => *i,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Io<Vec<Entry>> {
        let (from, to) = bounds(&range);
        let to = to.min(self.last().map_or(0, |(l, _)| l.index + 1));
        self.read_range(from, to, usize::MAX).map_err(|e| io_error(ErrorVerb::Read, &e))
    }

    /// The entries of one append. openraft sends the rest in the next ones.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Io<Vec<Entry>> {
        let mut entries =
            self.read_range(start, end, APPEND_SENT).map_err(|e| io_error(ErrorVerb::Read, &e))?;
        // A follower whose program can't apply the raised version takes the append that ends with the raise, and the blank entry of a new leader, without which the raise may never be
        // committed. It refuses each append that has more behind the raise.
        if let Some(end) = entries.iter().position(ends_append) {
            entries.truncate(end.saturating_add(1));
        }
        Ok(entries)
    }
}

fn ends_append(entry: &Entry) -> bool {
    match &entry.payload {
        EntryPayload::Blank => true,
        EntryPayload::Normal(batch) => Batch::is_raise(&batch.0),
        EntryPayload::Membership(_) => false,
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Io<LogState<TypeConfig>> {
        let inner = self.lock();
        Ok(LogState { last_purged_log_id: inner.purged.map(|p| p.0), last_log_id: inner.last.map(|l| l.0) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Io<()> {
        self.lock().vote = Some(*vote);
        let row = vote_out(vote).encode_to_vec();
        let (tx, rx) = tokio::sync::oneshot::channel();
        let done: Done = Box::new(move |r| {
            let _ = tx.send(r);
        });
        self.store.write(vec![Change::put(vote_place(self.shard), row)], Some(done));
        let result = rx.await.unwrap_or(Err(StoreError::Closed));
        result.map_err(|e| io_error(ErrorVerb::Write, &e))
    }

    async fn read_vote(&mut self) -> Io<Option<Vote>> {
        // Always uncommitted, see `open`.
        Ok(self.vote().map(|v| Vote { committed: false, ..v }))
    }

    /// In memory only: after a restart the leader tells again what is committed. openraft waits for this before it begins to apply, so the log knows that an entry is
    /// committed before the state machine has begun with it.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Io<()> {
        if let Some(id) = committed {
            self.settle(id.index);
        }
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Io<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut changes = Vec::new();
        {
            let mut inner = self.lock();
            let mut hash = inner.last.map_or(Hash([0; 32]), |l| l.1);
            for entry in entries {
                hash = chain(&hash, &entry);
                let row = row_of(&entry, &hash);
                inner.last = Some((entry.log_id, hash));
                let size = row.len();
                changes.push(Change::put(Place::numbered(Table::Log, self.shard, entry.log_id.index), row));
                inner.remember(entry, hash, size);
            }
        }
        changes.extend(self.evidence.unwritten());
        let done: Done = Box::new(move |r| callback.log_io_completed(r.map_err(std::io::Error::other)));
        self.store.write(changes, Some(done));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Io<()> {
        let (last, settled) = {
            let inner = self.lock();
            let floor = (inner.highest_floor > 0).then_some(inner.highest_floor);
            (inner.last.map_or(0, |l| l.0.index), inner.settled.max(floor))
        };
        if let Some(settled) = settled.filter(|settled| log_id.index <= *settled) {
            // This region may have evaluated the attempt of that entry. Another history would let an attacker guess a second time with the same try. The replica
            // compares appends before Raft sees them, so a leader gets here only if this replica commits the entry as a leader itself meanwhile. The error ends
            // the process, which starts again from this disk. It must not halt the shard for good: a leader that lies could make it do so.
            let why = format!(
                "entries from {} on were to go, but those up to {settled} are committed",
                log_id.index
            );
            return Err(io_error(ErrorVerb::Delete, &StoreError::Database(why)));
        }
        let mut changes: Vec<Change> = (log_id.index..=last)
            .map(|i| Change::remove(Place::numbered(Table::Log, self.shard, i)))
            .collect();
        let before = {
            let mut inner = self.lock();
            // This node may have signed that its disk has these entries. Only the vote of a later leader explains why they are gone.
            inner.truncated = ballot(inner.vote.as_ref());
            changes.push(Change::put(truncated_place(self.shard), cbor(&inner.truncated)));
            let gone = inner.recent.split_off(&log_id.index);
            inner.bytes = inner.bytes.saturating_sub(gone.values().map(|(_, _, b)| *b).sum());
            inner.recent.last_key_value().map(|(_, (e, h, _))| (e.log_id, *h))
        };
        let previous = match before {
            Some(b) => Some(b),
            None if log_id.index > 0 => {
                let place = Place::numbered(Table::Log, self.shard, log_id.index - 1);
                let row = self.store.get(&place).map_err(|e| io_error(ErrorVerb::Read, &e))?;
                row.map(|r| read_row(&r))
                    .transpose()
                    .map_err(|e| io_error(ErrorVerb::Read, &e))?
                    .map(|(e, h)| (e.log_id, h))
            }
            None => None,
        };
        {
            let mut inner = self.lock();
            inner.last = previous.or(inner.purged);
        }
        self.store.write(changes, None);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Io<()> {
        let hash = self.chain_at(&log_id).map_err(|e| io_error(ErrorVerb::Read, &e))?;
        let Some(hash) = hash else { return Ok(()) };
        let changes = self.restart_at(log_id, hash);
        self.store.write(changes, None);
        Ok(())
    }
}
