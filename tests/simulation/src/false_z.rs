//! A keeper that keeps another z than the log entry has, as a rooted leader could plant one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bkv_core::id::{AccountId, Hash, RegId};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_vault::keeper::TokenKeeper;
use bkv_vault::raft::keeper::Keeper;

pub struct FalseZ {
    pub honest: Arc<TokenKeeper>,
    pub on: Arc<AtomicBool>,
}

impl Keeper for FalseZ {
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
        if self.on.load(Ordering::SeqCst) {
            bytes[0] ^= 1;
        }
        self.honest.keep(account, reg_id, record, &Secret32::new(bytes), shares, hashes)
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
