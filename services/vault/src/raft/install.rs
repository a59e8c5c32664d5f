//! Snapshots from another vault: compares them with what this replica has applied, then installs them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bkv_core::account::Account;
use bkv_core::encoding::cbor;
use bkv_core::id::{AccountId, AttemptId, Element, Hash, Ordinal, Time};
use bkv_core::record::Record;
use bkv_core::snapshot::{self, Contradiction, Verdict};
use bkv_wire::proto::peer as p;
use prost::Message as _;

use super::floor::Floor;
use super::rows::{cursor, digest, fleet_place, head, head_place, stored_membership};
use super::snapshot::{Received, Row};
use super::state::State;
use super::types::log_id_in;
use crate::store::{Change, Place, StoreError, Table};

/// Why a snapshot is not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// The snapshot contradicts what this replica has applied. An operator must look at it.
    #[error("{0}")]
    Halt(String),
    /// Other voters must confirm the snapshot and do not at the moment. The leader tries again.
    #[error("{0}")]
    Later(String),
    /// The own store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl State {
    /// Compares a snapshot with what this replica has applied. Returns the accounts that other voters must confirm first.
    pub(crate) fn judge(&self, received: &Received) -> Result<Vec<AccountId>, Unfit> {
        let contradicts = |c: Contradiction| Unfit::Halt(format!("a snapshot contradicts this replica: {c}"));
        let mine = self.lock().shard.clone();
        if let Verdict::Halt(c) = snapshot::judge_head(self.shard, &mine, &received.head.shard) {
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
            // With two rows for one account, the voters could confirm the one row while the other is installed.
            return Err(Unfit::Later("a snapshot with one account twice".into()));
        }
        let mut after = None;
        loop {
            let page = self.scan(after, 512)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            // A first registration that expired meanwhile left no row.
            if page.iter().any(|(id, account)| !theirs.contains(id) && !account.is_unconfirmed()) {
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

    /// Judges a snapshot on arrival, before Raft sees it. The other voters are asked here, because a refusal here only makes the leader try again.
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

    /// Installs an examined snapshot. Judges it again, because entries may have been applied meanwhile. Installs nothing if it contradicts.
    pub(super) async fn install(&self, received: Received) -> Result<(), StoreError> {
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
        self.drop_expired(&received, &mut changes)?;
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
            let unconfirmed = received.rows.iter().filter(|r| r.account.is_unconfirmed()).count();
            inner.shard.unconfirmed = u32::try_from(unconfirmed).unwrap_or(u32::MAX);
            inner.fleet = inner.shard.fleet.clone().map(Arc::new);
            inner.applied = Some(last);
            inner.chain = received.head.chain;
            inner.membership = membership;
            inner.deadlines = deadlines;
            // This replica never produced the events of the skipped entries. A reader of the feed must scan.
            let skipped: Vec<u64> = inner.events.drain(..).collect();
            changes.extend(
                skipped.into_iter().map(|n| Change::remove(Place::numbered(Table::Event, self.shard, n))),
            );
            inner.feed_start = cursor(last.index, u64::from(u16::MAX));
            changes.push(Change::put(fleet_place(self.shard), cbor(&fleet)));
            let head = head(&inner.shard, &last, inner.chain, &inner.membership);
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

    /// Removes the rows and secrets of first registrations that the snapshot does not have any more.
    fn drop_expired(&self, received: &Received, changes: &mut Vec<Change>) -> Result<(), StoreError> {
        let theirs: HashSet<AccountId> = received.rows.iter().map(|r| r.id).collect();
        let mut after = None;
        loop {
            let page = self.scan(after, 512)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (id, account) in page.iter().filter(|(id, _)| !theirs.contains(id)) {
                changes.push(Change::remove(self.account_place(id)));
                changes.push(Change::remove(self.deadline_place(id)));
                if let Some(stored) = &account.stored {
                    changes.push(Change::remove(self.secret_place(id, &stored.record.reg_id)));
                }
            }
        }
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
            // Keep this replica's own secrets if they belong to the same registration, because they include its own share. The record's hash must
            // match too: a different record must not inherit the old share.
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
        // This replica did not apply the attempts that arrived in the snapshot, so it does not know when they happened. Treat them as happening now:
        // the wait starts now. The floor gets attempt id zero, so no evaluation can match it.
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
        if let Some(at) = account.deadline() {
            deadlines.insert(row.id, at);
            changes.push(Change::put(self.deadline_place(&row.id), cbor(&(row.id, at))));
        } else {
            changes.push(Change::remove(self.deadline_place(&row.id)));
        }
    }
}
