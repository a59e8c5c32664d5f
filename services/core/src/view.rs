//! What the edge may say of an account: derived, never stored.

use crate::account::{Account, State};
use crate::fleet::Fleet;
use crate::id::{AccountId, Generation, Ordinal, Slot, Time};
use crate::statement::{Attempt, Attested};

/// The statement of the pending attempt, as every region must see it; None if nothing is pending.
pub fn attempt(fleet: &Fleet, id: &AccountId, account: &Account) -> Option<Attempt> {
    let (live, pending) = (account.live.as_ref()?, account.pending.as_ref()?);
    Some(Attempt {
        lineage: fleet.lineage,
        era: fleet.era,
        account: *id,
        generation: account.generation,
        ordinal: pending.ordinal,
        success: pending.success_before,
        attempt: pending.attempt,
        blinded: pending.blinded,
        record: live.hash,
        commitments: live.record.commitments.clone(),
        ksf: live.record.ksf,
        budget: live.record.attempts.max,
    })
}

/// What a region attests over a nonce. An account that was never registered looks like one with nothing in it.
pub fn attested(
    fleet: &Fleet,
    id: &AccountId,
    account: Option<&Account>,
    nonce: [u8; 32],
    slot: Slot,
    index: u64,
) -> Attested {
    Attested {
        nonce,
        slot,
        lineage: fleet.lineage,
        era: fleet.era,
        account: *id,
        state: account.map_or(State::None, Account::state),
        generation: account.map_or(Generation(0), |a| a.generation),
        ordinal: account.map_or(Ordinal(0), |a| a.ordinal),
        success: account.map_or(Ordinal(0), Account::success_ordinal),
        tries_left: account.map_or(0, Account::tries_left),
        next_allowed: account.map_or(Time(0), |a| a.next_allowed),
        record: account.map_or(crate::id::Hash([0; 32]), Account::record_hash),
        index,
        manifest: account.and_then(|a| a.manifest),
        lifetime_failures: account.map_or(0, |a| a.lifetime_failures),
    }
}
