//! Installs a snapshot from another vault. Its rows are staged already, and have the digest that t regions have signed. One commit makes them the live copy.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bkv_core::encoding::cbor;
use bkv_core::shard::Shard;

use super::rows::{
    Head, Installed, StoredCertificate, certified_place, cursor, digest_place, fleet_place, head_place,
};
use super::snapshot::{Received, log_id_of};
use super::state::{State, deadlines};
use crate::store::{Change, Place, StoreError, Table};

impl State {
    /// Puts a staged snapshot in the place of the live copy, whose rows the caller then drops.
    pub(super) async fn install(&self, received: Received) -> Result<(), StoreError> {
        let Received { head, copy, digest, unconfirmed } = received;
        let checkpoint = head.checkpoint().clone();
        let last = log_id_of(&checkpoint);
        let bad = |e: prost::DecodeError| StoreError::Malformed("snapshot head".into(), e.to_string());
        let membership = head.membership.stored().map_err(bad)?;
        self.store.flush().await?;
        let deadlines = deadlines(&self.store, self.shard, copy)?;
        {
            let mut inner = self.lock();
            if inner.applied.is_some_and(|a| a.index >= last.index) {
                return Err(StoreError::Database("a snapshot went stale while it was installed".into()));
            }
            let fleet = Arc::new(head.fleet);
            inner.shard = Shard { fleet: Some(fleet.as_ref().clone()), time: checkpoint.time, unconfirmed };
            inner.fleet = Some(fleet.clone());
            inner.digest = digest;
            inner.applied = Some(last);
            inner.chain = checkpoint.chain;
            inner.membership = membership;
            inner.installed = Some(Installed { index: last.index, at_ms: self.clock.now_ms() });
            inner.deadlines = deadlines;
            // This replica never produced the events of the skipped entries. A reader of the feed must scan.
            let skipped: Vec<u64> = inner.events.drain(..).collect();
            let mut changes: Vec<Change> = skipped
                .into_iter()
                .map(|n| Change::remove(Place::numbered(Table::Event, self.shard, n)))
                .collect();
            inner.feed_start = cursor(last.index, u64::from(u16::MAX));
            let row = Head::new(&inner.shard, &last, inner.chain, &inner.membership, copy, inner.installed);
            let stored = StoredCertificate { certificate: head.certificate, membership: head.membership };
            changes.push(Change::put(fleet_place(self.shard), cbor(fleet.as_ref())));
            changes.push(Change::put(head_place(self.shard), cbor(&row)));
            changes.push(Change::put(digest_place(self.shard), cbor(&inner.digest)));
            changes.push(Change::put(certified_place(self.shard), cbor(&stored)));
            changes.extend(self.log.restart_at(last, checkpoint.chain));
            changes.extend(inner.images.installed(self.shard, last.index));
            self.copy.store(copy, Ordering::Release);
            let book = self.book.clone();
            self.book.restore(stored, Some((fleet, copy)), || {
                self.store.write_pinned(changes, None, move |view| book.pinned(last.index, view));
            });
        }
        self.store.flush().await?;
        self.recent.clear();
        self.applied.send_replace(last.index);
        self.durable.send_replace(last.index);
        Ok(())
    }
}
