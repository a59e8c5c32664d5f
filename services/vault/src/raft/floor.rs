//! The floor: the record of an account's newest attempt on this region's own disk.

use bkv_core::account::{Account, Pending};
use bkv_core::id::{AttemptId, Element, Generation, Ordinal};
use minicbor::{Decode, Encode};

use super::rows::Installed;

/// The only attempt of an account that this region may evaluate. Stored outside the log, because a leader can truncate the log.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Floor {
    /// Generation of the attempt.
    #[n(0)]
    pub generation: Generation,
    /// Ordinal of the attempt.
    #[n(1)]
    pub ordinal: Ordinal,
    /// Id of the attempt.
    #[n(2)]
    pub attempt: AttemptId,
    /// The blinded password element B.
    #[n(3)]
    pub blinded: Element,
    /// Log index of the attempt's Begin.
    #[n(4)]
    pub index: u64,
    /// This vault's own clock when it applied the Begin.
    #[n(5)]
    pub applied_ms: u64,
    /// `applied_ms` of the previous attempt of this generation, if there was one.
    #[n(6)]
    pub previous_applied_ms: Option<u64>,
}

impl Floor {
    /// The floor of an attempt whose Begin this replica applies at `now_ms`. `before` is the account's floor until now.
    ///
    /// This region does not know when it would have applied the attempts that a snapshot brought. So it measures the wait from the installation of the snapshot, unless it
    /// has applied the previous attempt itself.
    pub(super) fn charged(
        account: &Account,
        pending: &Pending,
        before: Option<&Self>,
        installed: Option<Installed>,
        now_ms: u64,
    ) -> Self {
        // An ordinal belongs to one attempt only, so the floors of a generation only rise.
        let before = before.filter(|f| f.generation == account.generation);
        let seen = before.is_some_and(|f| f.ordinal.0 + 1 >= pending.ordinal.0);
        let unseen = installed.filter(|_| !seen && pending.ordinal.0 > 1);
        let previous_applied_ms = unseen.map(|i| i.at_ms).or_else(|| before.map(|f| f.applied_ms));
        Self::of(account, pending, now_ms, previous_applied_ms)
    }

    /// The floor of an attempt whose Begin came with a snapshot. None if the attempt is younger than the snapshot, or if this region's own floor is as high: a region
    /// evaluates one attempt of each ordinal, ever.
    pub(super) fn adopted(account: &Account, own: Option<&Self>, installed: Installed) -> Option<Self> {
        let pending = account.pending.as_ref().filter(|p| p.index <= installed.index)?;
        let is_as_high =
            own.is_some_and(|f| (f.generation, f.ordinal) >= (account.generation, pending.ordinal));
        (!is_as_high).then(|| Self::of(account, pending, installed.at_ms, None))
    }

    fn of(account: &Account, pending: &Pending, applied_ms: u64, previous_applied_ms: Option<u64>) -> Self {
        Self {
            generation: account.generation,
            ordinal: pending.ordinal,
            attempt: pending.attempt,
            blinded: pending.blinded,
            index: pending.index,
            applied_ms,
            previous_applied_ms,
        }
    }
}
