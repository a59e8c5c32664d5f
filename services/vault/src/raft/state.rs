//! The state machine over the store: entries go through `bkv-core`, and what comes out (accounts, secrets, floors, events, deadlines, the head)
//! is one job for the writer. Nothing is decided here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bkv_core::account::{Account, Cause};
use bkv_core::command::Batch;
use bkv_core::effect::{Effect, Event, EventKind, Outcome, Refusal};
use bkv_core::id::{AccountId, AttemptId, Element, Hash, Ordinal, RegId, Time};
use bkv_core::record::Record;
use bkv_core::shard::{Accounts, At, Fleet, Shard};
use bkv_core::snapshot::{self, Contradiction, Verdict};
use bkv_wire::proto::peer as p;
use bkv_wire::verifier::WireVerifier;
use openraft::storage::RaftStateMachine;
use openraft::{
    EntryPayload, ErrorVerb, OptionalSend, RaftSnapshotBuilder, SnapshotMeta, StorageError, StoredMembership,
};
use prost::Message as _;
use tokio::sync::watch;

use super::log::{Log, io_error};
use super::recent::Recent;
use super::snapshot::{Head, Received, Row, RowSecrets, SnapshotData};
use super::types::{
    Applied, Entry, LogId, Membership, Payload, TypeConfig, log_id_in, log_id_out, membership_in,
    membership_out,
};
use crate::env::Clock;
use crate::replica::{Floor, Keeper};
use crate::store::{Change, Done, Place, Store, StoreError, Table, View};

/// Events kept; whoever is further behind scans.
const EVENTS: usize = 16_384;

/// A shard's state. Cheap to clone: openraft has one, the replica that answers questions another.
#[derive(Clone)]
pub struct State {
    pub(crate) shard: u16,
    pub(crate) store: Store,
    pub(crate) log: Log,
    pub(crate) keeper: Arc<dyn Keeper>,
    pub(crate) verifier: Arc<WireVerifier>,
    pub(crate) clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
    /// Applied in memory.
    pub(crate) applied: Arc<watch::Sender<u64>>,
    /// Applied and on disk, floors with it.
    pub(crate) durable: Arc<watch::Sender<u64>>,
    /// Asks the other voters about one account, while a snapshot is judged.
    pub(crate) voters: Arc<dyn AskVoters>,
    /// Keys that ended here since the start: exhausted, deleted.
    pub(crate) ended: Arc<[AtomicU64; 2]>,
    recent: Arc<Recent>,
}

/// What t voters say of an account, directly.
#[async_trait::async_trait]
pub trait AskVoters: Send + Sync {
    /// Do t voters say that the account is exactly this?
    async fn agree(&self, shard: u16, id: &AccountId, digest: &Hash) -> bool;
}

/// Why a snapshot is not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// It contradicts what this replica has seen: a person must look at it.
    #[error("{0}")]
    Halt(String),
    /// Others must confirm it, and do not now.
    #[error("{0}")]
    Later(String),
    /// What is here does not read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Inner {
    shard: Shard,
    fleet: Option<Arc<Fleet>>,
    applied: Option<LogId>,
    chain: Hash,
    membership: StoredMembership<u64, openraft::EmptyNode>,
    deadlines: BTreeMap<AccountId, Time>,
    /// Cursors of the events that are kept, oldest first. A cursor is (log index, number in the entry): the same in every replica.
    events: VecDeque<u64>,
    /// All events behind this cursor are kept.
    floor: u64,
}

type Io<T> = Result<T, StorageError<u64>>;

fn head_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"head")
}

fn fleet_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"fleet")
}

fn cbor<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).unwrap_or_default() // writing to a Vec can't fail
}

fn read<T: for<'a> minicbor::Decode<'a, ()>>(what: &str, row: &[u8]) -> Result<T, StoreError> {
    minicbor::decode(row).map_err(|e| StoreError::Malformed(what.into(), e.to_string()))
}

/// The cursor of an entry's nth event.
const fn cursor(index: u64, n: u64) -> u64 {
    (index << 16) | n
}

/// What an account is, in 32 bytes: voters are asked whether theirs is the same.
pub fn digest(account: Option<&Account>) -> Hash {
    let bytes = account.map(cbor).unwrap_or_default();
    bkv_core::hash::tagged("bkv/account-digest/1", &[&bytes])
}

/// The batch's view of the accounts: what it changed over what the store has.
struct Work<'a> {
    state: &'a State,
    changed: HashMap<AccountId, Account>,
    floors: HashMap<AccountId, Option<Floor>>,
}

impl Work<'_> {
    /// The newest floor, also one that an entry of this very batch raised: two Begins may come in one batch, and the second must not be measured
    /// against an older one.
    fn floor(&self, id: &AccountId) -> Result<Option<Floor>, StoreError> {
        self.floors.get(id).map_or_else(|| self.state.floor(id), |f| Ok(f.clone()))
    }
}

impl Accounts for Work<'_> {
    type Error = StoreError;

    fn get(&mut self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        match self.changed.get(id) {
            Some(a) => Ok(Some(a.clone())),
            None => Ok(self.state.account(id)?.map(|a| Account::clone(&a))),
        }
    }

    fn put(&mut self, id: &AccountId, account: Account) -> Result<(), StoreError> {
        self.changed.insert(*id, account);
        Ok(())
    }
}

impl State {
    /// Reads what the store has of the shard's state.
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
            floor: 0,
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
        inner.floor = inner.events.front().map_or(applied_cursor, |first| first.saturating_sub(1));
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
        })
    }

    /// The store under it.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The shard's log.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account_place(&self, id: &AccountId) -> Place {
        Place::new(Table::Account, self.shard, &self.store.hidden(&[b"account", &id.0]))
    }

    fn secret_place(&self, id: &AccountId, reg_id: &RegId) -> Place {
        Place::new(Table::Secret, self.shard, &self.store.hidden(&[b"secret", &id.0, &reg_id.0]))
    }

    fn floor_place(&self, id: &AccountId) -> Place {
        Place::new(Table::Floor, self.shard, &self.store.hidden(&[b"account", &id.0]))
    }

    fn deadline_place(&self, id: &AccountId) -> Place {
        Place::new(Table::Deadline, self.shard, &self.store.hidden(&[b"account", &id.0]))
    }

    /// The account as applied.
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

    /// What the keeper made of a registration's secrets.
    pub(crate) fn secrets(&self, id: &AccountId, reg_id: &RegId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.get(&self.secret_place(id, reg_id))?.map(|row| row.to_vec()))
    }

    /// Replaces what the keeper made: it could do better now (a token that was away is back).
    pub(crate) fn keep_secrets(&self, id: &AccountId, reg_id: &RegId, kept: Vec<u8>) {
        // Under the lock that entries are applied under: what an entry has erased meanwhile must not come back (S14).
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

    pub(crate) fn fleet(&self) -> Option<Arc<Fleet>> {
        self.lock().fleet.clone()
    }

    /// Accounts whose deadline has passed.
    pub(crate) fn due(&self, now: Time, max: usize) -> Vec<AccountId> {
        self.lock().deadlines.iter().filter(|(_, at)| **at < now).map(|(id, _)| *id).take(max).collect()
    }

    /// (cursor behind which all events are kept, newest cursor).
    pub(crate) fn events(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.floor, inner.events.back().copied().unwrap_or(inner.floor))
    }

    /// Events behind a cursor, in order; those on disk.
    pub(crate) fn events_after(&self, cursor: u64, max: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let after = Place::numbered(Table::Event, self.shard, cursor);
        let rows = self.store.rows(Table::Event, self.shard, Some(&after), max)?;
        rows.iter().map(|(p, row)| Ok((p.number().unwrap_or(0), read("event", row)?))).collect()
    }

    /// Accounts in the order of their hidden places.
    pub(crate) fn scan(
        &self,
        after: Option<AccountId>,
        max: usize,
    ) -> Result<Vec<(AccountId, Account)>, StoreError> {
        let after = after.map(|id| self.account_place(&id));
        let rows = self.store.rows(Table::Account, self.shard, after.as_ref(), max)?;
        rows.iter().map(|(_, row)| read("account", row)).collect()
    }

    /// One batch: entries in, outcomes out, changes to the writer.
    fn run(&self, entries: impl IntoIterator<Item = Entry>) -> Result<Vec<Applied>, StoreError> {
        let mut work = Work { state: self, changed: HashMap::new(), floors: HashMap::new() };
        let mut changes = Vec::new();
        let mut answers = Vec::new();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut fleet_changed = false;
        let mut last = None;
        for entry in entries {
            let index = entry.log_id.index;
            last = Some(entry.log_id);
            let mut answer = Applied::default();
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(m) => {
                    inner.membership = StoredMembership::new(Some(entry.log_id), m);
                }
                EntryPayload::Normal(Payload(bytes)) => {
                    let batch: Batch = read("batch", &bytes)?;
                    let time = inner.shard.advance(batch.time);
                    answer.time = time;
                    for command in &batch.commands {
                        let at = At { index, time };
                        let applied = inner.shard.apply(at, command, &mut work, self.verifier.as_ref())?;
                        fleet_changed |= command.account().is_none() && applied.outcome == Outcome::Done;
                        for effect in applied.effects {
                            self.carry_out(index, effect, &mut work, &mut changes, inner)?;
                        }
                        answer.outcomes.push(applied.outcome);
                    }
                }
            }
            answers.push(answer);
        }
        let Some(last) = last else { return Ok(answers) };
        for (id, account) in &work.changed {
            changes.push(Change::put(self.account_place(id), cbor(&(*id, account))));
        }
        inner.applied = Some(last);
        inner.chain = self.log.chain_at(&last)?.unwrap_or(inner.chain);
        if fleet_changed {
            inner.fleet = inner.shard.fleet.clone().map(Arc::new);
            if let Some(fleet) = &inner.shard.fleet {
                changes.push(Change::put(fleet_place(self.shard), cbor(fleet)));
            }
        }
        changes.push(Change::put(head_place(self.shard), cbor(&head(inner, &last, false))));
        let durable = self.durable.clone();
        let done: Done = Box::new(move |r| {
            if r.is_ok() {
                durable.send_if_modified(|d| std::mem::replace(d, last.index.max(*d)) < last.index);
            }
        });
        self.store.write(changes, Some(done));
        for (id, account) in work.changed {
            self.recent.changed(id, Arc::new(account));
        }
        self.applied.send_replace(last.index);
        Ok(answers)
    }

    fn carry_out(
        &self,
        index: u64,
        effect: Effect,
        work: &mut Work<'_>,
        changes: &mut Vec<Change>,
        inner: &mut Inner,
    ) -> Result<(), StoreError> {
        match effect {
            Effect::KeepSecrets { account, reg_id, z, shares } => {
                let record = work.get(&account)?.and_then(|a| a.stored.map(|s| s.record));
                if let Some(record) = record {
                    let kept = self.keeper.keep(&account, &reg_id, &record, &z, &shares);
                    changes.push(Change::put(self.secret_place(&account, &reg_id), kept));
                }
            }
            Effect::EraseSecrets { account, reg_id } => {
                changes.push(Change::remove(self.secret_place(&account, &reg_id)));
                // A registration that was only stored takes nothing of the live one's with it: neither its open attempt nor its waits.
                let generation = work.get(&account)?.filter(|a| a.live.is_some()).map(|a| a.generation);
                if work.floor(&account)?.is_some_and(|f| Some(f.generation) != generation) {
                    work.floors.insert(account, None);
                    changes.push(Change::remove(self.floor_place(&account)));
                }
            }
            Effect::Floor { account } => {
                if let Some(a) = work.get(&account)?
                    && let Some(p) = &a.pending
                {
                    // One attempt an ordinal, ever: a floor is only ever raised.
                    let before = work.floor(&account)?.filter(|f| f.generation == a.generation);
                    let floor = Floor {
                        generation: a.generation,
                        ordinal: p.ordinal,
                        attempt: p.attempt,
                        blinded: p.blinded,
                        index: p.index,
                        applied_ms: self.clock.now_ms(),
                        previous_applied_ms: before.map(|f| f.applied_ms),
                    };
                    changes.push(Change::put(self.floor_place(&account), cbor(&floor)));
                    changes.extend(self.log.raise_floor(p.index));
                    work.floors.insert(account, Some(floor));
                }
            }
            Effect::Deadline { account, at } => match at {
                Some(at) => {
                    inner.deadlines.insert(account, at);
                    changes.push(Change::put(self.deadline_place(&account), cbor(&(account, at))));
                }
                None => {
                    if inner.deadlines.remove(&account).is_some() {
                        changes.push(Change::remove(self.deadline_place(&account)));
                    }
                }
            },
            Effect::Event(event) => {
                if let EventKind::Ended(cause) = event.kind {
                    let [exhausted, deleted] = self.ended.as_ref();
                    let which = if cause == Cause::Exhausted { exhausted } else { deleted };
                    which.fetch_add(1, Ordering::Relaxed);
                }
                let newest = inner.events.back().copied().unwrap_or(0);
                let number = cursor(index, 0).max(newest + 1);
                inner.events.push_back(number);
                changes.push(Change::put(Place::numbered(Table::Event, self.shard, number), cbor(&event)));
                if inner.events.len() > EVENTS
                    && let Some(oldest) = inner.events.pop_front()
                {
                    changes.push(Change::remove(Place::numbered(Table::Event, self.shard, oldest)));
                    inner.floor = oldest;
                }
            }
        }
        Ok(())
    }

    /// The head in a view of the disk, for a snapshot; the fleet is in it.
    pub fn snapshot_head(&self, view: &View) -> Result<Option<Head>, StoreError> {
        let Some(row) = view.get(&head_place(self.shard))? else { return Ok(None) };
        let mut head: Head = read("head", &row)?;
        if let Some(row) = view.get(&fleet_place(self.shard))? {
            head.shard.fleet = Some(read("fleet", &row)?);
        }
        Ok(Some(head))
    }

    /// Rows of a snapshot from a view: accounts with their secrets, z unmasked for the way.
    pub fn snapshot_rows(
        &self,
        view: &View,
        after: Option<AccountId>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let after = after.map(|id| self.account_place(&id));
        let rows = view.rows(Table::Account, self.shard, after.as_ref(), max)?;
        let mut out = Vec::with_capacity(rows.len());
        for (_, row) in rows {
            let (id, account): (AccountId, Account) = read("account", &row)?;
            let live = account.live.as_ref().map(|l| l.record.reg_id);
            let stored = account.stored.as_ref().map(|s| s.record.reg_id);
            let mut secrets = Vec::new();
            for reg_id in live.into_iter().chain(stored) {
                let kept = view.get(&self.secret_place(&id, &reg_id))?;
                if let Some((z, shares)) = kept.and_then(|k| self.keeper.export(&id, &reg_id, &k)) {
                    secrets.push(RowSecrets { reg_id, z, shares });
                }
            }
            out.push(Row { id, account, secrets });
        }
        Ok(out)
    }

    fn meta(&self) -> Option<SnapshotMeta<u64, openraft::EmptyNode>> {
        let inner = self.lock();
        let last = inner.applied?;
        Some(SnapshotMeta {
            last_log_id: Some(last),
            last_membership: inner.membership.clone(),
            snapshot_id: format!("{}-{}", last.leader_id.term, last.index),
        })
    }

    /// Judges what came in against what this replica has seen itself. Gives the accounts that others must confirm first.
    pub(crate) fn judge(&self, received: &Received) -> Result<Vec<AccountId>, Unfit> {
        let contradicts = |c: Contradiction| Unfit::Halt(format!("a snapshot contradicts this replica: {c}"));
        let mine = self.lock().shard.clone();
        if let Verdict::Halt(c) = snapshot::judge_head(&mine, &received.head.shard) {
            return Err(contradicts(c));
        }
        let Some(fleet) = received.head.shard.fleet.as_ref() else {
            return Err(Unfit::Halt("a snapshot without a fleet".into()));
        };
        if let Verdict::Halt(c) = snapshot::judge_documents(fleet, self.verifier.as_ref()) {
            return Err(contradicts(c));
        }
        let fleet = mine.fleet.as_ref().unwrap_or(fleet);
        let theirs: HashSet<AccountId> = received.rows.iter().map(|r| r.id).collect();
        if theirs.len() != received.rows.len() {
            // Others would be asked about the one row, and the other would be installed.
            return Err(Unfit::Later("a snapshot with one account twice".into()));
        }
        let mut after = None;
        loop {
            let page = self.scan(after, 512)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            if page.iter().any(|(id, _)| !theirs.contains(id)) {
                return Err(contradicts(Contradiction::Missing));
            }
        }
        let mut ask = Vec::new();
        for row in &received.rows {
            let here = self.account(&row.id)?;
            let theirs = Some(&row.account);
            match snapshot::judge(fleet, &row.id, here.as_deref(), theirs, self.verifier.as_ref()) {
                Verdict::Install => {}
                Verdict::AskVoters => ask.push(row.id),
                Verdict::Halt(c) => return Err(contradicts(c)),
            }
        }
        Ok(ask)
    }

    /// Judges on arrival, before Raft sees it: what needs others' word is asked for here, where a refusal only means that the leader tries again.
    pub(crate) async fn examine(&self, received: &mut Received) -> Result<(), Unfit> {
        for id in self.judge(received)? {
            let row = received.rows.iter().find(|r| r.id == id);
            let Some(row) = row else { continue };
            if !self.voters.agree(self.shard, &id, &digest(Some(&row.account))).await {
                return Err(Unfit::Later("fewer than t voters confirm an account of the snapshot".into()));
            }
            received.confirmed.insert(id);
        }
        Ok(())
    }

    /// Installs what was examined. It is judged once more, since entries may have been applied meanwhile; a contradiction installs nothing.
    async fn install(&self, received: Received) -> Result<(), StoreError> {
        let ask = self.judge(&received).map_err(|unfit| match unfit {
            Unfit::Halt(why) => {
                self.log.halt(why.clone());
                StoreError::Database(why)
            }
            Unfit::Later(why) => StoreError::Database(why),
            Unfit::Store(e) => e,
        })?;
        if ask.iter().any(|id| !received.confirmed.contains(id)) {
            return Err(StoreError::Database("a snapshot went stale while it was installed".into()));
        }
        let Some(fleet) = received.head.shard.fleet.clone() else {
            return Err(StoreError::Database("a snapshot without a fleet".into()));
        };
        let mut changes = Vec::new();
        let mut deadlines = BTreeMap::new();
        for row in &received.rows {
            let here = self.account(&row.id)?;
            self.take_row(row, here.as_deref(), &mut changes, &mut deadlines);
        }
        let bad = |e: prost::DecodeError| StoreError::Malformed("snapshot head".into(), e.to_string());
        let last = log_id_in(&p::LogId::decode(&received.head.applied[..]).map_err(bad)?);
        let membership = stored_membership(&received.head).map_err(bad)?;
        {
            let mut inner = self.lock();
            inner.shard = received.head.shard.clone();
            inner.fleet = inner.shard.fleet.clone().map(Arc::new);
            inner.applied = Some(last);
            inner.chain = received.head.chain;
            inner.membership = membership;
            inner.deadlines = deadlines;
            // Events of the entries that were skipped never happened here: whoever follows them scans.
            let skipped: Vec<u64> = inner.events.drain(..).collect();
            changes.extend(
                skipped.into_iter().map(|n| Change::remove(Place::numbered(Table::Event, self.shard, n))),
            );
            inner.floor = cursor(last.index, u64::from(u16::MAX));
            changes.push(Change::put(fleet_place(self.shard), cbor(&fleet)));
            let head = head(&inner, &last, false);
            changes.push(Change::put(head_place(self.shard), cbor(&head)));
        }
        changes.extend(self.log.restart_at(last, received.head.chain));
        self.store.write(changes, None);
        self.store.flush().await?;
        self.recent.clear();
        self.applied.send_replace(last.index);
        self.durable.send_replace(last.index);
        Ok(())
    }

    fn take_row(
        &self,
        row: &Row,
        here: Option<&Account>,
        changes: &mut Vec<Change>,
        deadlines: &mut BTreeMap<AccountId, Time>,
    ) {
        let account = &row.account;
        changes.push(Change::put(self.account_place(&row.id), cbor(&(row.id, account))));
        let records = [account.live.as_ref().map(|l| &l.record), account.stored.as_ref().map(|s| &s.record)];
        for s in &row.secrets {
            let record = records.iter().flatten().find(|r| r.reg_id == s.reg_id);
            // What this replica already keeps is better than what travelled, for its own share is in it: if it is the same registration. Under another
            // record's name the old share must not live on.
            let same = |known: &Record, hash: &Hash| {
                known.reg_id == s.reg_id && record.is_some_and(|r| r.hash() == *hash)
            };
            let mine = here.is_some_and(|a| {
                a.live.as_ref().is_some_and(|l| same(&l.record, &l.hash))
                    || a.stored.as_ref().is_some_and(|k| same(&k.record, &k.hash))
            });
            let known = mine && self.secrets(&row.id, &s.reg_id).is_ok_and(|k| k.is_some());
            if let (Some(record), false) = (record, known) {
                let kept = self.keeper.keep(&row.id, &s.reg_id, record, &s.z, &s.shares);
                changes.push(Change::put(self.secret_place(&row.id, &s.reg_id), kept));
            }
        }
        // Attempts that came with the snapshot were never applied here. By this region's clock they are as old as its word of them, so that the wait
        // after them is not measured from an older one; this floor is nobody's attempt, so nothing is evaluated on it.
        let known = self.floor(&row.id).ok().flatten();
        let (generation, ordinal) = (account.generation, account.ordinal);
        if ordinal > Ordinal(0) && known.is_none_or(|f| (f.generation, f.ordinal) < (generation, ordinal)) {
            let floor = Floor {
                generation,
                ordinal,
                attempt: AttemptId([0; 16]),
                blinded: Element([0; 32]),
                index: 0,
                applied_ms: self.clock.now_ms(),
                previous_applied_ms: None,
            };
            changes.push(Change::put(self.floor_place(&row.id), cbor(&floor)));
        }
        let before = here
            .map(|a| (a.live.as_ref().map(|l| l.record.reg_id), a.stored.as_ref().map(|s| s.record.reg_id)));
        for old in before.into_iter().flat_map(|(a, b)| [a, b]).flatten() {
            if !records.iter().flatten().any(|r| r.reg_id == old) {
                changes.push(Change::remove(self.secret_place(&row.id, &old)));
            }
        }
        let deadline = account
            .pending
            .as_ref()
            .map(|p| p.deadline)
            .into_iter()
            .chain(account.stored.as_ref().map(|s| s.expires))
            .min();
        if let Some(at) = deadline {
            deadlines.insert(row.id, at);
            changes.push(Change::put(self.deadline_place(&row.id), cbor(&(row.id, at))));
        } else {
            changes.push(Change::remove(self.deadline_place(&row.id)));
        }
    }
}

fn head(inner: &Inner, last: &LogId, whole: bool) -> Head {
    // On disk the fleet has a row of its own, since it changes a thousand times less often than the head.
    let shard = Shard { fleet: inner.shard.fleet.clone().filter(|_| whole), time: inner.shard.time };
    Head {
        shard,
        applied: log_id_out(last).encode_to_vec(),
        chain: inner.chain,
        membership: membership_out(inner.membership.membership()).encode_to_vec(),
        membership_at: inner
            .membership
            .log_id()
            .map(|id| log_id_out(&id).encode_to_vec())
            .unwrap_or_default(),
    }
}

pub(crate) fn stored_membership(
    head: &Head,
) -> Result<StoredMembership<u64, openraft::EmptyNode>, prost::DecodeError> {
    let at =
        (!head.membership_at.is_empty()).then(|| p::LogId::decode(&head.membership_at[..])).transpose()?;
    let m: Membership = membership_in(&p::Membership::decode(&head.membership[..])?);
    Ok(StoredMembership::new(at.as_ref().map(log_id_in), m))
}

fn all(store: &Store, table: Table, shard: u16) -> Result<Vec<crate::store::Row>, StoreError> {
    let mut found: Vec<crate::store::Row> = Vec::new();
    loop {
        let page = store.rows(table, shard, found.last().map(|(p, _)| p), 1024)?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

impl RaftStateMachine<TypeConfig> for State {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Io<(Option<LogId>, StoredMembership<u64, openraft::EmptyNode>)> {
        let inner = self.lock();
        Ok((inner.applied, inner.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Io<Vec<Applied>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.run(entries).map_err(|e| io_error(ErrorVerb::Write, &e))
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Io<Box<SnapshotData>> {
        Ok(Box::new(SnapshotData::Local))
    }

    async fn install_snapshot(
        &mut self,
        _: &SnapshotMeta<u64, openraft::EmptyNode>,
        snapshot: Box<SnapshotData>,
    ) -> Io<()> {
        match *snapshot {
            SnapshotData::Local => Ok(()),
            SnapshotData::Received(r) => self.install(*r).await.map_err(|e| io_error(ErrorVerb::Write, &e)),
        }
    }

    async fn get_current_snapshot(&mut self) -> Io<Option<openraft::Snapshot<TypeConfig>>> {
        Ok(self.meta().map(|meta| openraft::Snapshot { meta, snapshot: Box::new(SnapshotData::Local) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for State {
    /// The state is in the store already: once it is on disk the log before it can go.
    async fn build_snapshot(&mut self) -> Io<openraft::Snapshot<TypeConfig>> {
        let meta = self.meta().unwrap_or_default();
        self.store.flush().await.map_err(|e| io_error(ErrorVerb::Write, &e))?;
        Ok(openraft::Snapshot { meta, snapshot: Box::new(SnapshotData::Local) })
    }
}

/// A command that found no shard to apply it (a decoding fault): said rather than guessed.
pub(crate) const NOT_APPLIED: Outcome = Outcome::Refused(Refusal::NotInitialised);
