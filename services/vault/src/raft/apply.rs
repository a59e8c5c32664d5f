//! Applies committed entries: passes them to `bkv-core` and turns its effects into one job for the store's writer. `bkv-core` decides about accounts, and `floor.rs` about floors.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bkv_core::account::{Account, Cause};
use bkv_core::batch::Batch;
use bkv_core::checkpoint::{Checkpoint, is_checkpoint};
use bkv_core::effect::Effect;
use bkv_core::encoding::cbor;
use bkv_core::event::EventKind;
use bkv_core::fleet::Fleet;
use bkv_core::id::AccountId;
use bkv_core::outcome::Outcome;
use bkv_core::record::share_hashes;
use bkv_core::shard::{Accounts, At};
use openraft::{EntryPayload, StoredMembership};

use super::floor::Floor;
use super::recent::DigestRow;
use super::rows::{Head, InForce, account_row, cursor, digest_place, fleet_place, head_place};
use super::snapshot::leader_of;
use super::state::{Inner, State};
use super::types::{Applied, Entry, LogId, Payload};
use crate::store::{Change, Done, Place, StoreError, Table};

/// Number of events kept. A reader that is further behind must scan.
const EVENTS: usize = 16_384;

/// The batch's view of the accounts: its own changes on top of the store.
struct Work<'a> {
    state: &'a State,
    /// None: removed.
    changed: HashMap<AccountId, Option<Account>>,
    floors: HashMap<AccountId, Option<Floor>>,
}

impl Work<'_> {
    /// The newest floor, including one raised earlier in this batch. Two Begins may be in one batch, and the wait of the second is measured from the
    /// first.
    fn floor(&self, id: &AccountId) -> Result<Option<Floor>, StoreError> {
        self.floors.get(id).map_or_else(|| self.state.floor(id), |f| Ok(f.clone()))
    }
}

impl Accounts for Work<'_> {
    type Error = StoreError;

    fn get(&mut self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        match self.changed.get(id) {
            Some(a) => Ok(a.clone()),
            None => Ok(self.state.account(id)?.map(|a| Account::clone(&a))),
        }
    }

    fn put(&mut self, id: &AccountId, account: Account) -> Result<(), StoreError> {
        self.changed.insert(*id, Some(account));
        Ok(())
    }

    fn remove(&mut self, id: &AccountId) -> Result<(), StoreError> {
        self.changed.insert(*id, None);
        Ok(())
    }
}

fn malformed(error: &minicbor::decode::Error) -> StoreError {
    StoreError::Malformed("batch".into(), error.to_string())
}

/// Entries that become one job for the store's writer.
struct Job<'a> {
    work: Work<'a>,
    changes: Vec<Change>,
    fleet_changed: bool,
    last: Option<LogId>,
}

impl<'a> Job<'a> {
    fn new(state: &'a State) -> Self {
        let work = Work { state, changed: HashMap::new(), floors: HashMap::new() };
        Self { work, changes: Vec::new(), fleet_changed: false, last: None }
    }
}

impl State {
    /// Applies the entries, returns their outcomes and hands the changes to the writer. A checkpoint ends a job, so that the store can keep a view of exactly that state.
    pub(super) fn run(&self, entries: impl IntoIterator<Item = Entry>) -> Result<Vec<Applied>, StoreError> {
        let mut answers = Vec::new();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut job = Job::new(self);
        for entry in entries {
            let (index, before) = (entry.log_id.index, inner.shard.time);
            let in_force = inner.shard.version().filter(|v| !self.versions.contains(*v));
            if let (Some(version), EntryPayload::Normal(_)) = (in_force, &entry.payload) {
                // Only another program, or a crash of this one, leaves such an entry in the log. The next start finds the raise applied, and does not begin.
                self.close(job, inner, false)?;
                return Err(StoreError::Version(self.versions.cannot(version)));
            }
            job.last = Some(entry.log_id);
            let mut answer = Applied::default();
            let mut without_commands = false;
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(m) => {
                    inner.membership = StoredMembership::new(Some(entry.log_id), m);
                }
                EntryPayload::Normal(Payload(bytes))
                    if !inner.shard.takes(Batch::version_of(&bytes).map_err(|e| malformed(&e))?) =>
                {
                    answer.time = inner.shard.time;
                }
                EntryPayload::Normal(Payload(bytes)) => {
                    let batch = Batch::read(&bytes, self.versions).map_err(|e| malformed(&e))?;
                    let time = inner.shard.advance(batch.time);
                    answer.time = time;
                    without_commands = batch.commands.is_empty();
                    let refused = inner.shard.refuses(&batch);
                    for command in &batch.commands {
                        if let Some(why) = refused {
                            answer.outcomes.push(Outcome::Refused(why));
                            continue;
                        }
                        let at = At { shard: self.shard, index, time };
                        let applied =
                            inner.shard.apply(at, command, &mut job.work, self.verifier.as_ref())?;
                        job.fleet_changed |= command.account().is_none() && applied.outcome == Outcome::Done;
                        for effect in applied.effects {
                            self.carry_out(index, effect, &mut job.work, &mut job.changes, inner)?;
                        }
                        answer.outcomes.push(applied.outcome);
                    }
                }
            }
            answers.push(answer);
            if is_checkpoint(index, before, inner.shard.time, without_commands) && inner.shard.fleet.is_some()
            {
                self.close(std::mem::replace(&mut job, Job::new(self)), inner, true)?;
            }
        }
        self.close(job, inner, false)?;
        Ok(answers)
    }

    /// Hands a job to the writer, with the digest of the state after it. At a checkpoint, `Book` records the digest and a read view of the store.
    fn close(&self, job: Job<'_>, inner: &mut Inner, checkpoint: bool) -> Result<(), StoreError> {
        let Job { work, mut changes, fleet_changed, last } = job;
        let Some(last) = last else { return Ok(()) };
        let copy = self.live();
        let mut rows = HashMap::with_capacity(work.changed.len());
        for (id, account) in &work.changed {
            if let Some(before) = self.row_numbers(id)? {
                inner.digest.remove(&before);
            }
            let place = self.account_place(copy, id);
            changes.push(match account {
                Some(account) => {
                    let (row, hash) = account_row(id, account);
                    let numbers = Arc::new(hash.expand());
                    inner.digest.add(&numbers);
                    rows.insert(*id, DigestRow { hash, numbers });
                    Change::put(place, row)
                }
                None => Change::remove(place),
            });
        }
        if !work.changed.is_empty() {
            changes.push(Change::put(digest_place(self.shard), cbor(&inner.digest)));
        }
        inner.applied = Some(last);
        inner.chain = self.log.chain_at(&last)?.unwrap_or(inner.chain);
        if fleet_changed {
            inner.fleet = inner.shard.fleet.clone().map(Arc::new);
            if let Some(fleet) = &inner.shard.fleet {
                changes.push(Change::put(fleet_place(self.shard), cbor(fleet)));
            }
        }
        let head = Head::new(&inner.shard, &last, inner.chain, &inner.membership, copy, inner.installed);
        changes.push(Change::put(head_place(self.shard), cbor(&head)));
        inner.images.keep(&self.store, self.shard, &mut changes, self.clock.now_ms())?;
        let durable = self.durable.clone();
        let done: Done = Box::new(move |r| {
            if r.is_ok() {
                durable.send_if_modified(|d| std::mem::replace(d, last.index.max(*d)) < last.index);
            }
        });
        if checkpoint && let Some(fleet) = inner.fleet.clone() {
            let membership = head.membership.clone();
            self.book.reached(self.checkpoint(inner, &fleet, &last, &membership), fleet, membership, copy);
            let book = self.book.clone();
            self.store.write_pinned(changes, Some(done), move |view| book.pinned(last.index, view));
            if let Some(complete) = inner.images.reached(self.shard, last.index) {
                self.store.write(vec![complete], None);
            }
        } else {
            self.store.write(changes, Some(done));
        }
        for (id, account) in work.changed {
            self.recent.changed(id, account.map(Arc::new).zip(rows.remove(&id)));
        }
        self.applied.send_replace(last.index);
        Ok(())
    }

    fn checkpoint(&self, inner: &Inner, fleet: &Fleet, last: &LogId, membership: &InForce) -> Checkpoint {
        Checkpoint {
            lineage: fleet.lineage,
            era: fleet.era,
            shard: self.shard,
            term: last.leader_id.term,
            leader: leader_of(last),
            index: last.index,
            chain: inner.chain,
            list: fleet.documents.admission.number,
            time: inner.shard.time,
            rows: inner.digest.rows(),
            digest: membership.digest_with(self.shard, fleet, &inner.digest),
            version: fleet.version,
        }
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
                    let hashes = share_hashes(&shares);
                    let kept = self.keeper.keep(&account, &reg_id, &record, &z, &shares, &hashes);
                    changes.push(Change::put(self.secret_place(self.live(), &account, &reg_id), kept));
                }
            }
            Effect::EraseSecrets { account, reg_id } => {
                changes.push(Change::remove(self.secret_place(self.live(), &account, &reg_id)));
                // Erasing a registration that was stored but not live keeps the floor of the live generation, with its open attempt and its waits.
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
                    let before = work.floor(&account)?;
                    let floor = Floor::charged(&a, p, before.as_ref(), inner.installed, self.clock.now_ms());
                    changes.push(Change::put(self.floor_place(&account), cbor(&floor)));
                    changes.extend(self.log.raise_floor(p.index));
                    work.floors.insert(account, Some(floor));
                }
            }
            Effect::Deadline { account, at } => match at {
                Some(at) => {
                    inner.deadlines.insert(account, at);
                    changes
                        .push(Change::put(self.deadline_place(self.live(), &account), cbor(&(account, at))));
                }
                None => {
                    if inner.deadlines.remove(&account).is_some() {
                        changes.push(Change::remove(self.deadline_place(self.live(), &account)));
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
                    inner.feed_start = oldest;
                }
            }
        }
        Ok(())
    }
}
