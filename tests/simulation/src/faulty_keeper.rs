//! A keeper that keeps other secrets than the log entry has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use bkv_core::id::{AccountId, Hash, RegId};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_vault::keeper::TokenKeeper;
use bkv_vault::raft::keeper::Keeper;

/// What is wrong with the secrets that are kept.
#[derive(Clone, Default)]
pub struct Faults {
    /// z is another one, as a rooted leader could plant it.
    pub false_z: Arc<AtomicBool>,
    /// The sealed share of this slot is missing, as after a snapshot of a vault that has never had it. 0: none.
    pub no_share: Arc<AtomicU8>,
}

pub struct FaultyKeeper {
    pub honest: Arc<TokenKeeper>,
    pub faults: Faults,
}

impl Keeper for FaultyKeeper {
    fn keep(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        z: &Secret32,
        shares: &[SealedShare],
        hashes: &[Hash],
    ) -> Vec<u8> {
        let mut bytes = *z.expose();
        if self.faults.false_z.load(Ordering::SeqCst) {
            bytes[0] ^= 1;
        }
        let missing = self.faults.no_share.load(Ordering::SeqCst);
        let shares: Vec<SealedShare> = shares.iter().filter(|s| s.slot.0 != missing).cloned().collect();
        self.honest.keep(account, reg_id, record, &Secret32::new(bytes), &shares, hashes)
    }

    fn export(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        kept: &[u8],
    ) -> Option<(Secret32, Vec<SealedShare>, Vec<Hash>)> {
        self.honest.export(account, reg_id, kept)
    }
}
