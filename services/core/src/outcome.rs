//! The answer of an applied command to its proposer.

use crate::id::{Ordinal, Time};

/// The state machine's answer to a command, the same on all replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Applied, now or before under the same id. A repetition is free.
    Done,
    /// The attempt is open: charged now, or earlier by the same Begin.
    Begun {
        /// The ordinal of the attempt.
        ordinal: Ordinal,
        /// False if an earlier Begin charged it.
        charged: bool,
    },
    /// The command changed nothing.
    Refused(Refusal),
}

/// Why a command changed nothing. None of these costs a try.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The shard has no fleet yet, or already has one.
    #[error("the shard is not initialised, or already is")]
    NotInitialised,
    /// Documents with a wrong signature, a lower number or another lineage, or expired ones.
    #[error("documents refused")]
    Documents,
    /// The entry has a version that is not in force, or the raise of the version is not signed by every region.
    #[error("this version of the state is not in force")]
    Version,
    /// The account lies in another shard.
    #[error("the account lies in another shard")]
    Elsewhere,
    /// The account was never registered.
    #[error("no key")]
    NoKey,
    /// The key was destroyed because the last try failed.
    #[error("destroyed")]
    Destroyed,
    /// The key was deleted with the owner key.
    #[error("deleted")]
    Deleted,
    /// Lifetime failures are at the limit. A registration signed with the owner key unlocks the account.
    #[error("locked")]
    Locked,
    /// No attempt may begin before this entry time.
    #[error("wait until {0:?}")]
    Wait(Time),
    /// The last try is open. Only that attempt may be repeated.
    #[error("the last try is open until {0:?}")]
    LastTryOpen(Time),
    /// The attempt would be the last try, and the client has not agreed to that.
    #[error("only the last try is left")]
    LastTry,
    /// Fewer than t regions permit this last try.
    #[error("too few regions permit this last try")]
    Permits,
    /// No tries are left.
    #[error("no tries left")]
    Exhausted,
    /// The attempt is not the pending one. It was superseded, closed, expired or never begun.
    #[error("no such attempt")]
    NoAttempt,
    /// The same attempt id with another B, or the same registration id with other content.
    #[error("the id was used with other content")]
    Conflict,
    /// Generation, ordinal or document number do not match the state. The leader proposes again.
    #[error("not the next in order")]
    Stale,
    /// A signature, a proof or a recomputed value is wrong.
    #[error("a proof does not hold")]
    Proof,
    /// An operation without a valid signature by the owner key.
    #[error("the live owner's signature is missing or wrong")]
    Owner,
    /// The deadline of the attempt, the stored registration or the signature has passed.
    #[error("expired")]
    Expired,
    /// The record's contents break a rule (policy, lengths, counts, lineage).
    #[error("the record breaks the policy")]
    Record,
    /// Another ledger of the writer is named than the one that the owner expects.
    #[error("another ledger of this writer is named")]
    OtherLedger,
    /// The ledger's counter is not larger than that of the ledger that is named.
    #[error("an older ledger")]
    OldLedger,
    /// The account has as many writers as it can have.
    #[error("the account has 16 writers already; forget one first")]
    TooManyWriters,
    /// V was changed lately. Until this entry time it can only be taken back.
    #[error("V can't be changed again until {0:?}")]
    VTooSoon(Time),
    /// Too many first registrations of the shard wait for their confirmation.
    #[error("too many registrations wait for their confirmation: repeat the same request later")]
    TooMany,
    /// A point that is not canonical, or the identity.
    #[error("not a group element")]
    Element,
}
