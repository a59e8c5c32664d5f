//! Values that the edge sends or signs, derived from an account and never stored.

use crate::account::{Account, State};
use crate::fleet::Fleet;
use crate::id::{AccountId, AttemptId, Generation, Hash, Ordinal, Slot, Time};
use crate::secret::Secret32;
use crate::statement::{self, Attempt, Attested};
use crate::writers::{self, AttestedRetired, owner_hash};

/// The fields of the pending attempt that each region signs. None without a pending attempt.
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
        right: live.record.right,
    })
}

/// Seed and login context of the pending attempt, or of the one that finished last. If the client lost the reply, the same KE1 gets the same KE2
/// again.
pub fn login(
    fleet: &Fleet,
    id: &AccountId,
    account: &Account,
    attempt: &AttemptId,
) -> Option<(Secret32, Hash)> {
    let pending = account
        .pending
        .as_ref()
        .filter(|p| p.attempt == *attempt)
        .map(|p| (p.seed.clone(), p.ordinal, p.blinded));
    let (seed, ordinal, blinded) = pending.or_else(|| {
        let success = account.last_success.as_ref().filter(|s| s.attempt == *attempt)?;
        Some((account.finished_seed.clone()?, success.ordinal, success.blinded))
    })?;
    let (lineage, era) = (&fleet.lineage, fleet.era);
    let context = statement::login_context(lineage, era, id, account.generation, ordinal, attempt, &blinded);
    Some((seed, context))
}

/// The state of an account that a region attests at `time`, by its own clock. The state of an account that was never registered is all zeros.
#[allow(clippy::too_many_arguments)] // the statement's fields, each once
pub fn attested(
    fleet: &Fleet,
    id: &AccountId,
    account: Option<&Account>,
    nonce: [u8; 32],
    subject: Hash,
    slot: Slot,
    index: u64,
    time: Time,
) -> Attested {
    Attested {
        nonce,
        subject,
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
        record: account.map_or(Hash([0; 32]), Account::record_hash),
        index,
        writers: account.map(|a| writers::attested(&a.writers)).unwrap_or_default(),
        owner: account.and_then(|a| a.live.as_ref()).map_or(Hash([0; 32]), |l| owner_hash(&l.record.owner)),
        retired: account.map(|a| a.retired.iter().map(AttestedRetired::from).collect()).unwrap_or_default(),
        lifetime_failures: account.map_or(0, |a| a.lifetime_failures),
        time,
    }
}
