//! Init, Documents and Raise: the shard's fleet, and the root-signed documents and the version in force.

use crate::command::{Init, Raise};
use crate::document::{Documents, NewDocuments};
use crate::effect::Applied;
use crate::fleet::{At, Fleet};
use crate::outcome::Refusal;
use crate::verify::Verifier;

/// The shard's first command. A repetition for the same fleet is free. The Init of another fleet is refused, so its keys never replace those of this
/// one.
pub(crate) fn init(shard: &mut Option<Fleet>, at: At, c: &Init, verifier: &dyn Verifier) -> Applied {
    if let Some(fleet) = shard {
        let same = fleet.fleet == c.fleet
            && fleet.lineage == c.lineage
            && fleet.era == c.era
            && fleet.index == c.index;
        return if same { Applied::again() } else { Applied::refused(Refusal::NotInitialised) };
    }
    let Some(documents) = verifier.documents(&c.lineage, c.era, &c.documents, at.time) else {
        return Applied::refused(Refusal::Documents);
    };
    // An Init of another group, or of a group that the policy does not have, would give a second shard the same accounts.
    if c.shard != at.shard || c.shard >= documents.policy.shards {
        return Applied::refused(Refusal::NotInitialised);
    }
    *shard = Some(Fleet {
        fleet: c.fleet,
        lineage: c.lineage,
        era: c.era,
        shard: c.shard,
        index: c.index.clone(),
        documents,
        version: c.version,
    });
    Applied::done(Vec::new())
}

/// Puts the next version in force. A repetition is free: a new leader may propose one that is in its log already.
pub(crate) fn raise(shard: &mut Option<Fleet>, at: At, c: &Raise, verifier: &dyn Verifier) -> Applied {
    let Some(fleet) = shard else { return Applied::refused(Refusal::NotInitialised) };
    if c.version == fleet.version {
        return Applied::again();
    }
    if !fleet.is_raised_by(c, at.time, verifier) {
        return Applied::refused(Refusal::Version);
    }
    fleet.version = c.version;
    Applied::done(Vec::new())
}

/// Takes newer documents. Each number may stay or grow. A document whose number stays must stay the same.
pub(crate) fn documents(
    shard: &mut Option<Fleet>,
    at: At,
    c: &NewDocuments,
    verifier: &dyn Verifier,
) -> Applied {
    let Some(fleet) = shard else { return Applied::refused(Refusal::NotInitialised) };
    let Some(new) = verifier.documents(&fleet.lineage, fleet.era, c, at.time) else {
        return Applied::refused(Refusal::Documents);
    };
    if !follows(&fleet.documents, &new) {
        return Applied::refused(Refusal::Documents);
    }
    fleet.documents = new;
    Applied::done(Vec::new())
}

fn follows(old: &Documents, new: &Documents) -> bool {
    let grows = |old: (u64, crate::id::Hash), new: (u64, crate::id::Hash)| new.0 > old.0 || new == old;
    grows((old.admission.number, old.admission.hash), (new.admission.number, new.admission.hash))
        && grows((old.policy.number, old.policy.hash), (new.policy.number, new.policy.hash))
        // The number of shards never changes, because another number would lead routes to other shards.
        && old.policy.shards == new.policy.shards
}
