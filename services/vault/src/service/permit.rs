//! One region's permit of a last try. The last try may destroy the key, so a leader begins and repeats it only with permits of t regions, each of which has
//! verified the person's token for exactly this attempt and B.

use bkv_core::account::Account;
use bkv_core::id::{AccountId, AttemptId, Element, Generation, Hash, Ordinal};
use bkv_core::possession::Use;
use bkv_core::shard::Fleet;
use bkv_core::statement;
use bkv_wire::proto::inner as p;
use tokio::time::Instant;

use super::error::RegionError;
use super::evaluation::passed;
use super::person::Asker;
use super::{Vault, state_of};
use crate::replica::Replica;

/// The attempt that a client wants to begin as the last one.
#[derive(Clone, Copy)]
pub(crate) struct LastTry {
    pub(crate) generation: Generation,
    pub(crate) ordinal: Ordinal,
    pub(crate) attempt: AttemptId,
    pub(crate) blinded: Element,
    pub(crate) cancel: Hash,
    /// As in the client's Begin.
    pub(crate) may_be_last: bool,
}

impl LastTry {
    /// What each region signs.
    pub(crate) fn statement(&self, fleet: &Fleet, id: &AccountId) -> Vec<u8> {
        statement::permit(
            &fleet.lineage,
            fleet.era,
            id,
            self.generation,
            self.ordinal,
            &self.attempt,
            &self.blinded,
            &self.cancel,
            fleet.documents.admission.number,
        )
    }
}

impl Vault {
    /// Permits the last try of a person's account, from this region's own state and by its own clock.
    pub(crate) async fn permit(
        &self,
        replica: &Replica,
        asker: Asker<'_>,
        last: &LastTry,
        index: u64,
        deadline: Instant,
    ) -> Result<p::Permit, RegionError> {
        replica.wait_applied(index, deadline).await?;
        let fleet = state_of(replica)?;
        let id = asker.person.account(&fleet);
        let account = replica.account(&id)?.ok_or(RegionError::NoAccount)?;
        let repeats = is_open(&account, last);
        if !repeats && !is_last(&account, last) {
            return Err(RegionError::NotLast);
        }
        // A new last try needs the user's agreement under the proof. Only a repetition may come without it.
        let may_be_last = last.may_be_last || !repeats;
        let (attempt, blinded, cancel) = (&last.attempt, &last.blinded, &last.cancel);
        asker.proves(&fleet, &Use::Attempt { attempt, blinded, cancel, may_be_last })?;
        let live = account.live.as_ref().ok_or(RegionError::NoKey)?;
        // A repetition waits for nothing: it is charged already.
        let wait = if repeats { 0 } else { live.record.attempts.wait_after(account.failures()) };
        if wait > 0 {
            // The floor is of the newest attempt. It says when this region applied it.
            let floor = replica.floor(&id, deadline).await?;
            if (floor.generation, floor.ordinal) != (account.generation, account.ordinal) {
                return Err(RegionError::OtherFloor);
            }
            passed(floor.applied_ms, self.now_ms(), wait)?;
        }
        let slot = self.slot().ok_or(RegionError::NotAdmitted)?;
        let statement = last.statement(&fleet, &id);
        let (certificate, signature) = self.sign(&statement).ok_or(RegionError::NoBootKey)?;
        Ok(p::Permit { slot: u32::from(slot.0), certificate, signature })
    }
}

/// True if this is the open last try, perhaps with another B. The permit makes the replicas compare them, and count a conflict.
fn is_open(account: &Account, last: &LastTry) -> bool {
    let open = account.pending.as_ref().filter(|p| p.last && p.attempt == last.attempt);
    account.generation == last.generation && open.is_some_and(|p| p.ordinal == last.ordinal)
}

/// True if this attempt would be the next one and leaves no try.
fn is_last(account: &Account, last: &LastTry) -> bool {
    account.generation == last.generation
        && account.ordinal.0.checked_add(1) == Some(last.ordinal.0)
        && account.tries_left() == 1
}
