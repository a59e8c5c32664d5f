//! What a replica takes from a snapshot, account by account. A rooted leader may make one up: nothing in it may lower a counter, refill one without the
//! client's own proof, or swap a record, against what this replica has seen itself.

use crate::account::{Account, Success};
use crate::id::AccountId;
use crate::shard::{Fleet, Shard};
use crate::statement;
use crate::verify::Verifier;

/// What to do with one account of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It only goes on from what is here.
    Install,
    /// A newer generation, or an end: only if t voters, asked directly, say the same. Until then keep what is here and evaluate nothing for it.
    AskVoters,
    /// It contradicts what this replica has seen: halt the shard, never install.
    Halt(Contradiction),
}

/// How a snapshot contradicts what a replica has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Contradiction {
    /// An account that is here is not in it.
    #[error("an account is missing")]
    Missing,
    /// A lower generation.
    #[error("a lower generation")]
    Generation,
    /// Another record in the same generation.
    #[error("another record in the same generation")]
    Record,
    /// A lower ordinal.
    #[error("a lower ordinal")]
    Ordinal,
    /// Another attempt at the same ordinal.
    #[error("another attempt at the same ordinal")]
    Pending,
    /// A newer success without the client's valid proof, or an older one.
    #[error("a success that is not proved")]
    Success,
    /// Fewer failures over the account's life than follow from the rest.
    #[error("fewer lifetime failures")]
    Lifetime,
    /// An earlier next attempt.
    #[error("an earlier next attempt")]
    NextAllowed,
    /// A destroyed or deleted key lives again in the same generation.
    #[error("a key that is gone lives again")]
    Revived,
    /// The shard's own head goes back: time, fleet or documents.
    #[error("the shard's head goes back")]
    Head,
}

/// Judges the head of a snapshot: same fleet, time and document numbers not lower.
pub fn judge_head(mine: &Shard, theirs: &Shard) -> Verdict {
    let Some(m) = &mine.fleet else { return Verdict::Install };
    let same = theirs.fleet.as_ref().is_some_and(|t| {
        t.fleet == m.fleet
            && t.lineage == m.lineage
            && t.era == m.era
            && t.shard == m.shard
            && t.index == m.index
            && t.documents.admission.number >= m.documents.admission.number
            && t.documents.policy.number >= m.documents.policy.number
    });
    if same && theirs.time >= mine.time { Verdict::Install } else { Verdict::Halt(Contradiction::Head) }
}

/// Judges one account.
pub fn judge(
    fleet: &Fleet,
    id: &AccountId,
    mine: Option<&Account>,
    theirs: Option<&Account>,
    verifier: &dyn Verifier,
) -> Verdict {
    use Contradiction as C;
    let Some(m) = mine else {
        // Nothing is known here: a success in it is still checked, since it is a claim that carries its own proof.
        let proved =
            theirs.is_none_or(|t| t.last_success.as_ref().is_none_or(|s| proves(fleet, id, t, s, verifier)));
        return if proved { Verdict::Install } else { Verdict::Halt(C::Success) };
    };
    let Some(t) = theirs else { return Verdict::Halt(C::Missing) };
    if t.generation < m.generation {
        return Verdict::Halt(C::Generation);
    }
    if t.generation > m.generation {
        return Verdict::AskVoters;
    }
    match (&m.live, &t.live) {
        (None, Some(_)) => return Verdict::Halt(C::Revived),
        (Some(_), None) => return Verdict::AskVoters,
        (Some(a), Some(b)) if a.hash != b.hash || a.record != b.record => return Verdict::Halt(C::Record),
        _ => {}
    }
    if t.ordinal < m.ordinal {
        return Verdict::Halt(C::Ordinal);
    }
    let newer = t.last_success.as_ref().filter(|s| s.ordinal > m.success_ordinal());
    if t.success_ordinal() < m.success_ordinal() || t.success_ordinal() > t.ordinal {
        return Verdict::Halt(C::Success);
    }
    if newer.is_some_and(|s| !proves(fleet, id, t, s, verifier)) {
        return Verdict::Halt(C::Success);
    }
    if t.ordinal == m.ordinal {
        // The same pending attempt, or its closing; never another.
        let same = match (&m.pending, &t.pending) {
            (Some(a), Some(b)) => {
                a.attempt == b.attempt && a.blinded == b.blinded && a.cancel == b.cancel && a.last == b.last
            }
            (None, Some(_)) => false,
            (_, None) => true,
        };
        if !same {
            return Verdict::Halt(C::Pending);
        }
    }
    // Each proved success since may have given one failure back, and each attempt since has added one.
    let given_back = u32::from(newer.is_some());
    let successes = if newer.is_some() {
        u32::try_from(t.ordinal.0 - m.ordinal.0).unwrap_or(u32::MAX).max(1)
    } else {
        given_back
    };
    if t.lifetime.saturating_add(successes) < m.lifetime {
        return Verdict::Halt(C::Lifetime);
    }
    if t.next_allowed < m.next_allowed && newer.is_none() {
        return Verdict::Halt(C::NextAllowed);
    }
    Verdict::Install
}

/// Does the client's own signature prove this success of this account's live record?
fn proves(
    fleet: &Fleet,
    id: &AccountId,
    account: &Account,
    success: &Success,
    verifier: &dyn Verifier,
) -> bool {
    let Some(live) = &account.live else { return true }; // a tombstone's past successes refill nothing
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
