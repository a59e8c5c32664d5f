//! Stages the rows of a snapshot on the disk as they come, as another copy beside the live one. A crash leaves a copy that the next start drops.

use bkv_core::account::Account;
use bkv_core::digest::Digest;
use bkv_core::encoding::cbor;
use bkv_core::id::{Hash, Slot};
use bkv_core::record::{Record, shares_hash_of};
use bkv_core::snapshot::{self, Contradiction};
use std::sync::atomic::Ordering;

use super::rows::account_row;
use super::snapshot::{Head, Received, Row, RowSecrets};
use super::state::State;
use crate::server_keys::{OtherZ, server_keys};
use crate::store::{Change, Place, StoreError, Table};

/// The tables of which a snapshot brings another copy.
const COPIED: [Table; 3] = [Table::Account, Table::Secret, Table::Deadline];
/// Rows that are dropped in one commit.
const PAGE: usize = 512;

/// A snapshot that is arriving.
pub(crate) struct Stage {
    head: Head,
    copy: u32,
    digest: Digest,
    /// Accounts of this replica that the snapshot has. A first registration that expired meanwhile left no row, so those are not counted.
    known: u64,
    /// Accounts whose first registration is not confirmed.
    unconfirmed: u32,
    /// Registrations without this vault's own share.
    without_share: u64,
    /// The own applied index when it began.
    applied: u64,
    me: Option<Slot>,
}

/// Why a staged snapshot is dropped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("a snapshot contradicts this replica: {0}")]
    Contradiction(#[from] Contradiction),
    #[error("a snapshot with one account twice")]
    Twice,
    #[error("a snapshot with more accounts than were signed")]
    TooMany,
    #[error("a snapshot without the secrets of a registration")]
    Secrets,
    #[error("a snapshot with other shares than the account names")]
    Shares,
    #[error("a snapshot with a server secret that is not the record's")]
    OtherZ(#[from] OtherZ),
    #[error("a snapshot with another digest than was signed")]
    Digest,
    #[error("entries were applied while the snapshot arrived")]
    Stale,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Stage {
    pub(crate) const fn copy(&self) -> u32 {
        self.copy
    }

    /// The number of accounts, as signed.
    pub(crate) const fn rows(&self) -> u64 {
        self.head.checkpoint().rows
    }
}

impl State {
    /// Begins to stage a snapshot whose certificate was checked.
    pub(crate) fn stage(&self, head: Head, me: Option<Slot>) -> Stage {
        let copy = self.copies.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Stage {
            head,
            copy,
            digest: Digest::default(),
            known: 0,
            unconfirmed: 0,
            without_share: 0,
            applied: *self.applied.borrow(),
            me,
        }
    }

    /// Stages one row.
    pub(crate) fn stage_row(&self, stage: &mut Stage, row: &Row) -> Result<(), Refused> {
        // The number is signed, so a liar can't add rows. Their bytes are not signed.
        if stage.digest.rows() >= stage.head.checkpoint().rows {
            return Err(Refused::TooMany);
        }
        let here = self.account(&row.id)?;
        let fleet = &stage.head.fleet;
        snapshot::judge(fleet, &row.id, here.as_deref(), Some(&row.account), self.verifier.as_ref())?;
        let place = self.account_place(stage.copy, &row.id);
        if self.store.get(&place)?.is_some() {
            return Err(Refused::Twice);
        }
        let account = &row.account;
        let (encoded, hash) = account_row(&row.id, account);
        let mut changes = vec![Change::put(place, encoded)];
        let live = account.live.as_ref().map(|l| (&l.record, &l.hash, &l.shares));
        let stored = account.stored.as_ref().map(|s| (&s.record, &s.hash, &s.shares));
        for (record, hash, shares) in live.into_iter().chain(stored) {
            let given = row.secrets.iter().find(|s| s.reg_id == record.reg_id).ok_or(Refused::Secrets)?;
            fits(given, record, shares)?;
            // The digest does not cover z. With a wrong one this vault would answer right passwords like wrong ones as soon as it leads.
            server_keys(&record.server, &given.z)?;
            // Keep this replica's own secrets of the same registration, because they include its own share.
            let mine = here.as_deref().is_some_and(|a| has(a, record, hash));
            let kept = if mine { self.secrets(&row.id, &record.reg_id)? } else { None };
            let kept = if let Some(kept) = kept {
                kept
            } else {
                // The sender may have got its own state from this vault by a snapshot, and has never had its share. The other regions have it: this vault asks
                // them when it first needs the share.
                stage.without_share += u64::from(!given.shares.iter().any(|s| Some(s.slot) == stage.me));
                let RowSecrets { reg_id, z, shares, hashes } = given;
                self.keeper.keep(&row.id, reg_id, record, z, shares, hashes)
            };
            changes.push(Change::put(self.secret_place(stage.copy, &row.id, &record.reg_id), kept));
        }
        if let Some(at) = account.deadline() {
            changes.push(Change::put(self.deadline_place(stage.copy, &row.id), cbor(&(row.id, at))));
        }
        stage.digest.add(&hash.expand());
        stage.known += u64::from(here.is_some_and(|a| !a.is_unconfirmed()));
        stage.unconfirmed = stage.unconfirmed.saturating_add(u32::from(account.is_unconfirmed()));
        self.store.write(changes, None);
        Ok(())
    }

    /// Ends staging: the rows must have the digest that t regions have signed.
    pub(crate) fn staged(&self, stage: &Stage) -> Result<Received, Refused> {
        let c = stage.head.checkpoint();
        if stage.digest.rows() != c.rows || stage.head.digest_with(&stage.digest) != c.digest {
            return Err(Refused::Digest);
        }
        if *self.applied.borrow() != stage.applied {
            return Err(Refused::Stale);
        }
        let confirmed = {
            let inner = self.lock();
            inner.digest.rows().saturating_sub(u64::from(inner.shard.unconfirmed))
        };
        if stage.known != confirmed {
            return Err(Contradiction::Missing.into());
        }
        if stage.without_share > 0 {
            let (shard, registrations) = (self.shard, stage.without_share);
            tracing::warn!(
                shard,
                registrations,
                "a snapshot lacks this region's share of some registrations: it asks the other regions when it needs one"
            );
        }
        let Stage { head, copy, digest, unconfirmed, .. } = stage;
        Ok(Received { head: head.clone(), copy: *copy, digest: digest.clone(), unconfirmed: *unconfirmed })
    }

    /// Removes the rows of a copy that is not live, a page at a time.
    pub(crate) async fn drop_copy(&self, copy: u32) -> Result<(), StoreError> {
        for table in COPIED {
            let prefix = Place::of_copy(table, self.shard, copy, &[]);
            while !self.is_live(copy) {
                self.store.flush().await?;
                let page = self.store.view()?.places(&prefix, &prefix, PAGE)?;
                if page.is_empty() {
                    break;
                }
                self.store.write(page.into_iter().map(Change::remove).collect(), None);
            }
        }
        Ok(())
    }

    /// Removes the rows of all copies but the live one.
    pub(super) fn drop_other_copies(&self) -> Result<(), StoreError> {
        let (view, live) = (self.store.view()?, self.live());
        for table in COPIED {
            let all = Place::new(table, self.shard, &[]);
            let behind = Place::of_copy(table, self.shard, live.saturating_add(1), &[]);
            let mut from = all.clone();
            loop {
                let page = view.places(&all, &from, PAGE)?;
                let Some(first) = page.first() else { break };
                if first.copy() == Some(live) {
                    from = behind.clone();
                    continue;
                }
                let others: Vec<Place> = page.into_iter().take_while(|p| p.copy() != Some(live)).collect();
                let Some(last) = others.last() else { break };
                from = Place::from_bytes(&[last.bytes(), &[0]].concat());
                self.store.write(others.into_iter().map(Change::remove).collect(), None);
            }
        }
        Ok(())
    }
}

/// True if the account has this registration, with exactly this record. A different record must not inherit the old share.
fn has(account: &Account, record: &Record, hash: &Hash) -> bool {
    let live = account.live.as_ref().map(|l| (l.record.reg_id, l.hash));
    let stored = account.stored.as_ref().map(|s| (s.record.reg_id, s.hash));
    [live, stored].contains(&Some((record.reg_id, *hash)))
}

/// Checks that each share is one of those that H(shares) names.
fn fits(given: &RowSecrets, record: &Record, shares: &Hash) -> Result<(), Refused> {
    let named = |slot: Slot| usize::from(slot.0).checked_sub(1).and_then(|i| given.hashes.get(i));
    let all = given.hashes.len() == usize::from(record.slots)
        && shares_hash_of(&given.hashes) == *shares
        && given.shares.iter().all(|s| named(s.slot) == Some(&s.hash()));
    if all { Ok(()) } else { Err(Refused::Shares) }
}
