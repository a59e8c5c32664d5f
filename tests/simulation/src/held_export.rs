//! A keeper that a test can let wait in the middle of a snapshot, as with a slow token or a slow receiver.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bkv_core::id::{AccountId, Hash, RegId};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_vault::raft::keeper::Keeper;

/// The exports of a vault.
#[derive(Default)]
pub struct Exports {
    begun: AtomicU64,
    held: Mutex<bool>,
    freed: Condvar,
}

impl Exports {
    /// Lets exports wait from now on, or go on.
    pub fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.freed.notify_all();
    }

    /// How many have begun: one for each registration of a snapshot.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let held = self.held.lock().unwrap();
        drop(self.freed.wait_while(held, |held| *held).unwrap());
    }
}

pub struct HeldExport<K> {
    pub inner: K,
    pub exports: Arc<Exports>,
}

impl<K: Keeper> Keeper for HeldExport<K> {
    fn keep(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        z: &Secret32,
        shares: &[SealedShare],
        hashes: &[Hash],
    ) -> Vec<u8> {
        self.inner.keep(account, reg_id, record, z, shares, hashes)
    }

    fn export(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        kept: &[u8],
    ) -> Option<(Secret32, Vec<SealedShare>, Vec<Hash>)> {
        self.exports.begin();
        self.inner.export(account, reg_id, kept)
    }
}
