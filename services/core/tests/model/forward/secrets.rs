//! What a vault keeps of a registration beside the replicated state. A sealed share opens for one record and slot.

use bkv_core::account::Account;
use bkv_core::hash::tagged;
use bkv_core::id::{AccountId, Hash, PublicKey, RegId, Slot};
use bkv_core::record::{Record, SealedShare, share_hashes};
use bkv_core::secret::Secret32;

use super::super::fake::{REGIONS, server_key};

/// The share of a slot, sealed for this record.
fn sealed(record: &Hash, slot: u8) -> SealedShare {
    let ct = tagged("fake/share", &[&record.0, &[slot]]).0.to_vec();
    SealedShare { slot: Slot(slot), enc: vec![slot; 32], ct }
}

/// All shares of a registration.
pub(super) fn all_sealed(record: &Hash) -> Vec<SealedShare> {
    (1..=REGIONS).map(|slot| sealed(record, slot)).collect()
}

/// z and the sealed shares that a vault has, its own among them if it can open it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Kept {
    pub(super) z: Secret32,
    pub(super) shares: Vec<SealedShare>,
    pub(super) hashes: Vec<Hash>,
}

impl Kept {
    pub(super) fn new(z: &Secret32, shares: &[SealedShare]) -> Self {
        Self { z: z.clone(), shares: shares.to_vec(), hashes: share_hashes(shares) }
    }

    /// True if the vault of this slot has a share that it can evaluate with.
    pub(super) fn has_share(&self, record: &Hash, slot: Slot) -> bool {
        self.shares.contains(&sealed(record, slot.0))
    }

    pub(super) fn server(&self) -> PublicKey {
        server_key(self.z.expose())
    }
}

/// The secrets of a registration in a snapshot.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct RowSecrets {
    pub(super) reg_id: RegId,
    pub(super) kept: Kept,
}

/// A row of a snapshot.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    pub(super) id: AccountId,
    pub(super) account: Account,
    pub(super) secrets: Vec<RowSecrets>,
}

/// The registrations of an account: record, H(record), H(shares).
pub(super) fn registrations(account: &Account) -> impl Iterator<Item = (&Record, &Hash, &Hash)> {
    let live = account.live.as_ref().map(|l| (&l.record, &l.hash, &l.shares));
    let stored = account.stored.as_ref().map(|s| (&s.record, &s.hash, &s.shares));
    live.into_iter().chain(stored)
}
