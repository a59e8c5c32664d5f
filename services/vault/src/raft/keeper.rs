//! What keeps the secrets of registrations, as the state machine sees it.

use bkv_core::id::{AccountId, RegId};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;

/// Keeps z and the own share of a registration so that the disk alone shows neither. Called while entries are applied.
pub trait Keeper: Send + Sync + 'static {
    /// Masks what a Store brought. Never fails: what can't be done now (a token that is away) is kept to be done later.
    fn keep(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        z: &Secret32,
        shares: &[SealedShare],
    ) -> Vec<u8>;
    /// z in the clear and the shares still sealed, for a snapshot to another vault. None if the token is away.
    fn export(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        kept: &[u8],
    ) -> Option<(Secret32, Vec<SealedShare>)>;
}
