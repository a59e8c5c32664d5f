//! Checks a snapshot against this replica's own state, account by account. This is the second line: t regions have signed the snapshot's digest. Even then it
//! must not lower a counter, give tries back without the client's proof, or replace a record.

use crate::account::{Account, Pending, Success};
use crate::document::NewDocuments;
use crate::fleet::Fleet;
use crate::id::{AccountId, AttemptId, Hash};
use crate::record::Record;
use crate::shard::Shard;
use crate::statement;
use crate::verify::Verifier;
use crate::writers::{MAX_RETIRED, MAX_WRITERS, Writer};

/// How a snapshot contradicts the replica's own state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Contradiction {
    /// The snapshot lacks an account that this replica has.
    #[error("an account is missing")]
    Missing,
    /// The generation is lower.
    #[error("a lower generation")]
    Generation,
    /// The record is another one in the same generation.
    #[error("another record in the same generation")]
    Record,
    /// The ordinal is lower.
    #[error("a lower ordinal")]
    Ordinal,
    /// The pending attempt is another one at the same ordinal.
    #[error("another attempt at the same ordinal")]
    Pending,
    /// The newest success has no valid proof by the client, or is older than this replica's.
    #[error("a success that is not proved")]
    Success,
    /// The lifetime failures are fewer or more than the ordinals allow.
    #[error("fewer lifetime failures")]
    LifetimeFailures,
    /// Ids of failed attempts are missing. A replica with this state would charge them again, and this replica would refuse them.
    #[error("failed attempts are forgotten")]
    Failed,
    /// The next attempt is allowed earlier.
    #[error("an earlier next attempt")]
    NextAllowed,
    /// A destroyed or deleted key is live again in the same generation.
    #[error("a key that is gone lives again")]
    Revived,
    /// An account of another shard.
    #[error("an account that lies in another shard")]
    Elsewhere,
    /// The shard's own head goes back: time, fleet or documents.
    #[error("the shard's head goes back")]
    Head,
    /// A writer's ledger is older, or another one with the same counter, or a writer is missing that was not forgotten.
    #[error("an older map of the writers")]
    Writers,
    /// The parts of the account contradict each other: no sequence of entries leads to it.
    #[error("an account that no entries lead to")]
    Inconsistent,
    /// The root did not sign the documents.
    #[error("documents that the root did not sign")]
    Documents,
}

/// Checks the head of a snapshot for this shard: the fleet must be the same, and time, version and document numbers must not be lower.
pub fn judge_head(shard: u16, mine: &Shard, theirs: &Shard) -> Result<(), Contradiction> {
    if theirs.fleet.as_ref().is_some_and(|t| t.shard != shard || shard >= t.documents.policy.shards) {
        return Err(Contradiction::Head);
    }
    let Some(m) = &mine.fleet else { return Ok(()) };
    let same = theirs.fleet.as_ref().is_some_and(|t| {
        t.fleet == m.fleet
            && t.lineage == m.lineage
            && t.era == m.era
            && t.shard == m.shard
            && t.index == m.index
            && t.documents.policy.shards == m.documents.policy.shards
            && t.version >= m.version
            && t.documents.admission.number >= m.documents.admission.number
            && t.documents.policy.number >= m.documents.policy.number
            && (t.documents.admission.number > m.documents.admission.number
                || t.documents.admission == m.documents.admission)
            && (t.documents.policy.number > m.documents.policy.number
                || t.documents.policy == m.documents.policy)
    });
    if same && theirs.time >= mine.time { Ok(()) } else { Err(Contradiction::Head) }
}

/// Checks that the root signed the documents in a snapshot's head. Otherwise a rooted leader could put its own keys under every slot. The documents
/// may have expired since they were installed.
pub fn judge_documents(theirs: &Fleet, verifier: &dyn Verifier) -> Result<(), Contradiction> {
    let d = &theirs.documents;
    let signed = NewDocuments { admission: d.admission_signed.clone(), policy: d.policy_signed.clone() };
    let at = d.admission.not_before.max(d.policy.not_before);
    let read = verifier.documents(&theirs.lineage, theirs.era, &signed, at);
    if read.as_ref() == Some(d) { Ok(()) } else { Err(Contradiction::Documents) }
}

/// Checks one account.
pub fn judge(
    fleet: &Fleet,
    id: &AccountId,
    mine: Option<&Account>,
    theirs: Option<&Account>,
    verifier: &dyn Verifier,
) -> Result<(), Contradiction> {
    use Contradiction as C;
    if theirs.is_some() && !fleet.holds(id) {
        return Err(C::Elsewhere);
    }
    // The claimed account must be possible by itself, even if this replica does not have it.
    if theirs.is_some_and(|t| !possible(id, t)) {
        return Err(C::Inconsistent);
    }
    // A success contains its proof. This replica has already checked the successes in its own state, when it applied them.
    let claimed = theirs.and_then(|t| t.last_success.as_ref().map(|s| (t, s)));
    let known = mine.filter(|m| theirs.is_some_and(|t| t.generation == m.generation));
    if let Some((t, s)) = claimed
        && known.and_then(|m| m.last_success.as_ref()) != Some(s)
        && !proves(fleet, id, t, s, verifier)
    {
        return Err(C::Success);
    }
    // An unconfirmed registration that expired left no row, and the person has begun anew.
    let anew = |m: &&Account| m.is_unconfirmed() && theirs.is_some_and(|t| t.created > m.created);
    let Some(m) = mine.filter(|m| !anew(m)) else {
        // This replica has nothing to compare with. But a registration begins without failures, and each attempt adds one, which only its own success
        // subtracts.
        let counted = |t: &Account| (t.failures()..=t.ordinal.0).contains(&u64::from(t.lifetime_failures));
        return if theirs.is_none_or(counted) { Ok(()) } else { Err(C::LifetimeFailures) };
    };
    let Some(t) = theirs else { return Err(C::Missing) };
    if t.generation < m.generation {
        return Err(C::Generation);
    }
    if t.generation > m.generation {
        return Ok(());
    }
    if t.route != m.route || t.created != m.created {
        return Err(C::Record);
    }
    match (&m.live, &t.live) {
        (None, Some(_)) => return Err(C::Revived),
        // The end of another registration does not end this one. The other honest region may have taken a key of a rooted leader's, by a token of the person's, and
        // deleted it with that key's own signature.
        (Some(a), None) => {
            let same = t.ended.as_ref().is_some_and(|e| e.reg_id == a.record.reg_id);
            return if same { Ok(()) } else { Err(C::Record) };
        }
        (Some(a), Some(b)) if a != b => return Err(C::Record),
        (None, None) if m.ended != t.ended => return Err(C::Record),
        _ => {}
    }
    attempts(m, t)?;
    writers(m, t)?;
    stored(m, t)
}

/// Checks the counters of one generation. Each must continue from this replica's own.
fn attempts(m: &Account, t: &Account) -> Result<(), Contradiction> {
    use Contradiction as C;
    if t.ordinal < m.ordinal {
        return Err(C::Ordinal);
    }
    let newer = t.last_success.as_ref().filter(|s| s.ordinal > m.success_ordinal());
    match newer {
        // A success that is not newer must be this replica's own.
        None if t.last_success != m.last_success => return Err(C::Success),
        // An attempt that this replica saw fail can't have succeeded, even with a genuine signature by the client.
        Some(s) if s.ordinal < m.ordinal => return Err(C::Success),
        Some(s) if s.ordinal == m.ordinal => {
            let open = m.pending.as_ref().is_some_and(|p| p.attempt == s.attempt && p.blinded == s.blinded);
            if !open {
                return Err(C::Success);
            }
        }
        _ => {}
    }
    // From this seed a replica derives the session key for its answer to a repeated Finish.
    let seed = match newer {
        None => m.finished_seed.as_ref(),
        Some(s) if s.ordinal == m.ordinal => m.pending.as_ref().map(|p| &p.seed),
        Some(_) => t.finished_seed.as_ref(),
    };
    if t.finished_seed.as_ref() != seed {
        return Err(C::Success);
    }
    if t.ordinal == m.ordinal {
        // The pending attempt must be the same, or closed.
        let same = match (&m.pending, &t.pending) {
            (Some(a), Some(b)) => {
                // Conflicts are counted and never forgotten. The rest of an open attempt does not change.
                a.conflicts <= b.conflicts && *a == Pending { conflicts: a.conflicts, ..b.clone() }
            }
            (None, Some(_)) => false,
            (_, None) => true,
        };
        if !same {
            return Err(C::Pending);
        }
    }
    // A success subtracts only its own attempt's failure. So of the failures counted here, only that of the open attempt can be gone.
    let given_back = u32::from(newer.is_some() && m.pending.is_some());
    let begun = u32::try_from(t.ordinal.0 - m.ordinal.0).unwrap_or(u32::MAX);
    if t.lifetime_failures.saturating_add(given_back) < m.lifetime_failures
        || t.lifetime_failures > m.lifetime_failures.saturating_add(begun)
    {
        return Err(C::LifetimeFailures);
    }
    if t.next_allowed < m.next_allowed && newer.is_none() {
        return Err(C::NextAllowed);
    }
    let budget =
        m.live.as_ref().map_or(usize::MAX, |l| usize::try_from(l.record.attempts.max).unwrap_or(usize::MAX));
    if !remembers(&m.failed, &t.failed, budget) {
        return Err(C::Failed);
    }
    Ok(())
}

/// Checks that no ledger goes back. A V that was replaced may be gone: whether its time is over follows from times, which t regions have signed with the digest.
fn writers(m: &Account, t: &Account) -> Result<(), Contradiction> {
    let goes_on = |mine: &&Writer| {
        let Some(theirs) = t.writers.iter().find(|w| w.id == mine.id) else { return false };
        let same = theirs.ledger == mine.ledger
            && theirs.v == mine.v
            && (theirs.before.is_none() || theirs.before == mine.before)
            && (mine.forgotten.is_none() || theirs.forgotten == mine.forgotten);
        same || theirs.ledger.counter > mine.ledger.counter
    };
    // A writer that was forgotten is missing, or has begun again at any counter.
    let ended = m.writers.iter().filter(|w| !goes_on(w)).count();
    let forgotten = t.forgotten.checked_sub(m.forgotten).and_then(|more| usize::try_from(more).ok());
    if forgotten.is_some_and(|more| ended <= more) { Ok(()) } else { Err(Contradiction::Writers) }
}

/// Checks that failed ids were only appended. The oldest may be missing only if the list is as long as the budget.
fn remembers(mine: &[AttemptId], theirs: &[AttemptId], budget: usize) -> bool {
    let goes_on = |forgotten: usize| {
        mine.get(forgotten..).is_some_and(|kept| theirs.starts_with(kept))
            && (forgotten == 0 || theirs.len() == budget)
    };
    theirs.len() <= budget && (0..=mine.len()).any(goes_on)
}

/// Checks that a registration that both have stored is the same.
fn stored(m: &Account, t: &Account) -> Result<(), Contradiction> {
    match (&m.stored, &t.stored) {
        (Some(a), Some(b))
            if a != b && a.record.reg_id == b.record.reg_id && (a.hash != b.hash || a.shares != b.shares) =>
        {
            Err(Contradiction::Record)
        }
        _ => Ok(()),
    }
}

/// True if some sequence of entries could lead to this account.
fn possible(id: &AccountId, t: &Account) -> bool {
    let fits = |r: &Record, hash: &Hash, generation: Option<u64>| {
        r.account == *id && r.hash() == *hash && Some(r.generation.0) == generation
    };
    let live = t.live.as_ref().is_none_or(|l| fits(&l.record, &l.hash, Some(t.generation.0)));
    let stored = t
        .stored
        .as_ref()
        .is_none_or(|s| s.base == t.generation && fits(&s.record, &s.hash, t.generation.0.checked_add(1)));
    let success =
        t.success_ordinal() <= t.ordinal && t.finished == t.last_success.as_ref().map(|s| s.attempt);
    let pending = t.pending.as_ref().is_none_or(|p| {
        t.live.is_some()
            && p.ordinal == t.ordinal
            && p.success_before == t.success_ordinal()
            && p.ordinal > p.success_before
            && p.last == (t.tries_left() == 0)
    });
    // The last try ends in a success or destroys the key. It never leaves a live key without tries.
    let last = t.live.is_none() || t.pending.is_some() || t.tries_left() > 0;
    let route = Some(t.route.bucket()) == id.bucket();
    let maps = t.retired.iter().map(|r| &r.writers).chain([&t.writers]);
    let mut sorted = maps.map(|w| w.len() <= MAX_WRITERS && w.is_sorted_by(|a, b| a.id < b.id));
    let writers = sorted.all(|fine| fine)
        && t.retired.len() <= MAX_RETIRED
        && (t.live.is_some() || t.writers.is_empty());
    writers
        && route
        && live
        && stored
        && success
        && pending
        && last
        && (t.live.is_none() || t.ended.is_none())
}

/// True if the client's signature proves this success under the account's live record.
fn proves(
    fleet: &Fleet,
    id: &AccountId,
    account: &Account,
    success: &Success,
    verifier: &dyn Verifier,
) -> bool {
    let Some(live) = &account.live else { return true }; // without a live record a success gives no tries back
    let context = statement::login_context(
        &fleet.lineage,
        fleet.era,
        id,
        account.generation,
        success.ordinal,
        &success.attempt,
        &success.blinded,
    );
    verifier.success(&live.record.upload, &context.0, &success.transcript, &success.signature)
}
