//! The rules for a record that is to be stored.

use crate::apply::Step;
use crate::bounds;
use crate::command::Store;
use crate::id::{Generation, Slot};
use crate::outcome::Refusal;
use crate::record::{KsfParams, Record};

/// The most bytes of a record's encrypted backup key.
const MAX_CIPHERTEXT: usize = 256;

/// Checks every rule for a record. A rooted leader must not get a softer policy, another fleet's record or a wrong number of shares into the state.
pub(crate) fn check_record(step: &Step<'_>, c: &Store, base: Generation) -> Result<(), Refusal> {
    let r = &c.record;
    let docs = &step.fleet.documents;
    let slots = docs.admission.members.len();
    let fleet = r.lineage == step.fleet.lineage
        && r.era == step.fleet.era
        && r.account == step.id
        && c.account == step.id
        && Some(c.route.bucket()) == step.id.bucket();
    if !fleet {
        return Err(Refusal::Record);
    }
    if Some(r.generation.0) != base.0.checked_add(1) {
        return Err(Refusal::Stale);
    }
    if r.admission != docs.admission.number || r.policy != docs.policy.number {
        return Err(Refusal::Stale);
    }
    let counts = usize::from(r.slots) == slots
        && r.threshold == docs.admission.threshold
        && usize::from(r.threshold) == r.commitments.len()
        && c.shares.len() == slots
        && c.shares.iter().zip(1u8..).all(|(share, slot)| share.slot == Slot(slot))
        && c.shares.iter().all(|s| s.enc.len() <= bounds::SHARE_KEY && s.ct.len() <= bounds::SHARE_TEXT);
    let sizes = r.upload.len() == Record::UPLOAD_LEN
        && r.ciphertext.len() <= MAX_CIPHERTEXT
        && r.encode().len() <= Record::MAX_LEN;
    let policy = r.attempts == docs.policy.attempts
        && within(&r.ksf, &docs.policy.ksf_floor, &docs.policy.ksf_ceiling);
    if !(counts && sizes && policy && step.verifier.upload(&r.upload)) {
        return Err(Refusal::Record);
    }
    if !r.commitments.iter().all(|e| step.verifier.element(e)) {
        return Err(Refusal::Element);
    }
    Ok(())
}

const fn within(k: &KsfParams, floor: &KsfParams, ceiling: &KsfParams) -> bool {
    k.memory_kib >= floor.memory_kib
        && k.memory_kib <= ceiling.memory_kib
        && k.passes >= floor.passes
        && k.passes <= ceiling.passes
        && k.lanes >= floor.lanes
        && k.lanes <= ceiling.lanes
}
