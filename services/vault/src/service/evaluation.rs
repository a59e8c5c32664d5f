//! One region's evaluation of one attempt. Four conditions must hold before the share is used: this region itself has verified the person's token (and the proof
//! by its key for this attempt, if it names one), its replica has applied the charge, its floor is on disk, and by its own clock the wait is over.

use std::sync::Arc;

use bkv_core::account::Account;
use bkv_core::id::{AccountId, AttemptId};
use bkv_core::possession::Use;
use bkv_core::{statement, view};
use bkv_crypto::toprf;
use bkv_wire::proto::inner as p;
use tokio::time::Instant;

use super::error::RegionError;
use super::person::Asker;
use super::{Vault, state_of};
use crate::keeper::Unmasked;
use crate::raft::floor::Floor;
use crate::replica::Replica;

impl Vault {
    /// Evaluates the pending attempt of a person's account, in a client's session. `may_be_last` is the client's, as its proof signs it. Repeating it for the same attempt returns the same β
    /// and proof. Any other attempt is refused with a reason.
    pub async fn evaluate(
        &self,
        replica: &Replica,
        asker: Asker<'_>,
        attempt: &AttemptId,
        may_be_last: bool,
        index: u64,
        deadline: Instant,
    ) -> Result<p::Evaluation, RegionError> {
        replica.wait_applied(index, deadline).await?;
        let fleet = state_of(replica)?;
        let id = &asker.person.account(&fleet);
        let slot = self.slot().ok_or(RegionError::NotAdmitted)?;
        let account = replica.account(id)?.ok_or(RegionError::NoAccount)?;
        let pending = view::attempt(&fleet, id, &account)
            .filter(|a| a.attempt == *attempt)
            .ok_or(RegionError::NotPending)?;
        // This region's own state names B and H(cancel), so a leader can't show the proof of another attempt.
        let cancel = &account.pending.as_ref().ok_or(RegionError::NotPending)?.cancel;
        let blinded = &pending.blinded;
        asker.proves(&fleet, &Use::Attempt { attempt, blinded, cancel, may_be_last })?;
        let floor = replica.floor(id, deadline).await?;
        // The floor decides what this region may evaluate, not the state: it was written when the charge was applied, and a leader can't take it
        // back.
        let same = floor.generation == pending.generation
            && floor.ordinal == pending.ordinal
            && floor.attempt == pending.attempt
            && floor.blinded == pending.blinded;
        if !same {
            return Err(RegionError::OtherFloor);
        }
        wait_is_over(&account, &floor, self.clock.now_ms())?;
        let unmasked = self.secrets_of(replica, id, &account, attempt).await?;
        let own = unmasked.share.as_ref().ok_or(RegionError::NoShare)?;
        let seed = account.pending.as_ref().map(|p| p.seed.clone()).ok_or(RegionError::NotPending)?;
        let context = statement::proof_context(&pending, slot);
        self.observer.evaluating(slot, &pending);
        let e = toprf::evaluate(&own.share, &own.public, slot, seed.expose(), &context.0, &pending.blinded)?;
        let statement = statement::evaluation(&pending, slot, &e.beta, &asker.tag());
        let (certificate, signature) = self.sign(&statement).ok_or(RegionError::NoBootKey)?;
        Ok(p::Evaluation {
            slot: u32::from(slot.0),
            beta: e.beta.0.to_vec().into(),
            proof: e.proof.0.to_vec().into(),
            certificate,
            signature,
        })
    }

    /// z and share of the live record, from the cache or the token.
    pub(crate) async fn secrets_of(
        &self,
        replica: &Replica,
        id: &AccountId,
        account: &Account,
        attempt: &AttemptId,
    ) -> Result<Arc<Unmasked>, RegionError> {
        let live = account.live.as_ref().ok_or(RegionError::NoKey)?;
        let (key, reg_id) = ((*id, *attempt), live.record.reg_id);
        if let Some(known) = self.cache.get(&key, &reg_id) {
            return Ok(known);
        }
        let unmasked = Arc::new(self.unmask(replica, id, &live.record).await?);
        // Without the share the next call asks the other regions again.
        if unmasked.share.is_some() {
            self.cache.put(key, reg_id, unmasked.clone());
        }
        Ok(unmasked)
    }

    /// Drops secrets that were cached for too long, and empty queues of attempts.
    pub(crate) fn sweep(&self) {
        self.cache.sweep();
        self.attempt_queues.sweep();
    }

    /// Drops the secrets of an attempt that is over.
    pub(crate) fn forget(&self, id: &AccountId, attempt: &AttemptId) {
        self.cache.forget(&(*id, *attempt));
    }
}

/// Measures the wait by this region's own clock since it applied the previous attempt, so a leader whose clock is ahead can't shorten it. A region
/// that has just caught up makes its clients wait once more instead of trusting entry times. That costs no try.
fn wait_is_over(account: &Account, floor: &Floor, now_ms: u64) -> Result<(), RegionError> {
    let (Some(live), Some(previous)) = (&account.live, floor.previous_applied_ms) else { return Ok(()) };
    let failures_before = account.failures().saturating_sub(1);
    let wait = live.record.attempts.wait_after(failures_before);
    passed(previous, now_ms, wait)
}

/// Fails unless the wait is over by this region's clock.
pub(super) fn passed(since_ms: u64, now_ms: u64, wait: u64) -> Result<(), RegionError> {
    let passed = now_ms.saturating_sub(since_ms);
    // Half a second of tolerance: entries reach regions at slightly different moments.
    if passed.saturating_add(500) < wait { Err(RegionError::Wait { passed, wait }) } else { Ok(()) }
}
