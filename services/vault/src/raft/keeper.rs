//! The state machine's interface to the keeper of registrations' secrets.

use bkv_core::id::{AccountId, Hash, RegId};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;

/// Masks z and the own share of a registration, so that the disk alone reveals neither. Called while entries are applied.
pub trait Keeper: Send + Sync + 'static {
    /// Masks secrets. `hashes` has the hash of each sealed share, also of those that are not given. Never fails: while the token is unavailable it keeps them unmasked, to be masked later.
    fn keep(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        z: &Secret32,
        shares: &[SealedShare],
        hashes: &[Hash],
    ) -> Vec<u8>;
    /// z in the clear, the shares still sealed and the hashes, for a snapshot to another vault. None if the token is unavailable.
    fn export(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        kept: &[u8],
    ) -> Option<(Secret32, Vec<SealedShare>, Vec<Hash>)>;
}
