//! Applies committed entries: passes them to `bkv-core` and turns its effects into one job for the store's writer. This file makes no decisions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bkv_core::account::{Account, Cause};
use bkv_core::command::Batch;
use bkv_core::effect::{Effect, EventKind, Outcome};
use bkv_core::encoding::cbor;
use bkv_core::id::AccountId;
use bkv_core::shard::{Accounts, At};
use openraft::{EntryPayload, StoredMembership};

use super::floor::Floor;
use super::rows::{cursor, fleet_place, head, head_place, read};
use super::state::{Inner, State};
use super::types::{Applied, Entry, Payload};
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

impl State {
    /// One batch: entries in, outcomes out, changes to the writer.
    pub(super) fn run(&self, entries: impl IntoIterator<Item = Entry>) -> Result<Vec<Applied>, StoreError> {
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
                        let at = At { shard: self.shard, index, time };
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
            let place = self.account_place(id);
            changes.push(match account {
                Some(account) => Change::put(place, cbor(&(*id, account))),
                None => Change::remove(place),
            });
        }
        inner.applied = Some(last);
        inner.chain = self.log.chain_at(&last)?.unwrap_or(inner.chain);
        if fleet_changed {
            inner.fleet = inner.shard.fleet.clone().map(Arc::new);
            if let Some(fleet) = &inner.shard.fleet {
                changes.push(Change::put(fleet_place(self.shard), cbor(fleet)));
            }
        }
        changes.push(Change::put(
            head_place(self.shard),
            cbor(&head(&inner.shard, &last, inner.chain, &inner.membership)),
        ));
        let durable = self.durable.clone();
        let done: Done = Box::new(move |r| {
            if r.is_ok() {
                durable.send_if_modified(|d| std::mem::replace(d, last.index.max(*d)) < last.index);
            }
        });
        self.store.write(changes, Some(done));
        for (id, account) in work.changed {
            self.recent.changed(id, account.map(Arc::new));
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
                    // An ordinal belongs to one attempt only, so the floors of a generation only rise.
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
                    inner.feed_start = oldest;
                }
            }
        }
        Ok(())
    }
}
