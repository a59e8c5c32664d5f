//! The result of an applied command: an answer for the proposer, and work for the edge.

use minicbor::{Decode, Encode};

use crate::account::{Cause, Manifest, State};
use crate::id::{AccountId, Generation, Ordinal, RegId, Route, Time};
use crate::record::SealedShare;
use crate::secret::Secret32;

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
    /// The manifest's sequence is not larger than that of the account's manifest.
    #[error("an older manifest")]
    OldManifest,
    /// Too many first registrations of the shard wait for their confirmation.
    #[error("too many registrations wait for their confirmation: repeat the same request later")]
    TooMany,
    /// A point that is not canonical, or the identity.
    #[error("not a group element")]
    Element,
}

/// The result of one command.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// For the proposer.
    pub outcome: Outcome,
    /// For the edge.
    pub effects: Vec<Effect>,
}

impl Applied {
    /// The command changed nothing.
    pub(crate) fn refused(why: Refusal) -> Self {
        Self { outcome: Outcome::Refused(why), effects: Vec::new() }
    }

    /// The same command was applied before.
    pub(crate) fn again() -> Self {
        Self { outcome: Outcome::Done, effects: Vec::new() }
    }

    pub(crate) fn done(effects: Vec<Effect>) -> Self {
        Self { outcome: Outcome::Done, effects }
    }
}

/// Work for the edge. It does the effects in order, in the same disk transaction as the state.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Store z masked. Open the own share, check it against the record and store it masked. Store the other shares sealed.
    KeepSecrets {
        /// The account.
        account: AccountId,
        /// The registration.
        reg_id: RegId,
        /// The OPAQUE server secret, to be masked.
        z: Secret32,
        /// All shares of the registration.
        shares: Vec<SealedShare>,
    },
    /// Erase z and all shares of a registration.
    EraseSecrets {
        /// The account.
        account: AccountId,
        /// The registration.
        reg_id: RegId,
    },
    /// An attempt was charged. Make its floor durable before evaluating.
    Floor {
        /// The account. Its pending attempt is the floor's content.
        account: AccountId,
    },
    /// The account's next deadline. The leader proposes Expire after it.
    Deadline {
        /// The account.
        account: AccountId,
        /// The earliest deadline; None if there is none any more.
        at: Option<Time>,
    },
    /// An event for ChatD.
    Event(Event),
}

/// An entry of the feed to ChatD's projection. It contains no account id, because only vaults may know account ids.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Event {
    /// The public route of the account.
    #[n(0)]
    pub route: Route,
    /// See [`EventKind`].
    #[n(1)]
    pub kind: EventKind,
    /// Entry time.
    #[n(2)]
    pub at: Time,
    /// After the event.
    #[n(3)]
    pub state: State,
    /// After the event.
    #[n(4)]
    pub generation: Generation,
    /// After the event.
    #[n(5)]
    pub tries_left: u32,
    /// After the event.
    #[n(6)]
    pub next_allowed: Time,
    /// After the event: the entry time at which the live record was confirmed, if there is one.
    #[n(7)]
    pub since: Option<Time>,
    /// After the event.
    #[n(8)]
    pub manifest: Option<Manifest>,
}

/// The change that an event reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum EventKind {
    /// A registration was confirmed.
    #[n(0)]
    Registered,
    /// An attempt was charged.
    #[n(1)]
    Attempt,
    /// An attempt ended without success (given up, superseded, expired).
    #[n(2)]
    Failed,
    /// The password was proved.
    #[n(3)]
    Recovered,
    /// The key is gone.
    #[n(4)]
    Ended(#[n(0)] Cause),
    /// The owner named its newest backup.
    #[n(5)]
    Manifest,
    /// A stored registration expired or was superseded before it was confirmed.
    #[n(6)]
    Dropped,
}
