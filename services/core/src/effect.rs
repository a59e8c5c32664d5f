//! What an applied command returns: an answer for the proposer, and work for the edge.

use minicbor::{Decode, Encode};

use crate::account::{Cause, Manifest, State};
use crate::id::{AccountId, Generation, Ordinal, RegId, Route, Time};
use crate::record::SealedShare;
use crate::secret::Secret32;

/// The state machine's answer to a command: the same at every replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done (or already done by the same id: repeating is free).
    Done,
    /// A Begin was charged now, or the same Begin is answered again.
    Begun {
        /// Its place.
        ordinal: Ordinal,
        /// False if it was already charged.
        charged: bool,
    },
    /// Changed nothing.
    Refused(Refusal),
}

/// Why a command changed nothing. None of these costs a try.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The shard has no fleet yet, or already has one.
    #[error("the shard is not initialised, or already is")]
    NotInitialised,
    /// Documents: bad signature, lower number, other lineage, expired.
    #[error("documents refused")]
    Documents,
    /// No live key: never registered.
    #[error("no key")]
    NoKey,
    /// Destroyed by too many attempts.
    #[error("destroyed")]
    Destroyed,
    /// Deleted by its owner.
    #[error("deleted")]
    Deleted,
    /// At the lifetime limit; the owner's next registration ends it.
    #[error("locked")]
    Locked,
    /// Not before this time.
    #[error("wait until {0:?}")]
    Wait(Time),
    /// The last try is open; only that attempt may be repeated.
    #[error("the last try is open until {0:?}")]
    LastTryOpen(Time),
    /// No tries are left.
    #[error("no tries left")]
    Exhausted,
    /// The attempt is not the pending one: superseded, closed, expired or never begun.
    #[error("no such attempt")]
    NoAttempt,
    /// The same attempt id with another B, or the same registration id with other content.
    #[error("the id was used with other content")]
    Conflict,
    /// Generation or ordinal is not what the state says: the leader proposes again.
    #[error("not the next in order")]
    Stale,
    /// A signature, proof or recomputed value does not hold.
    #[error("a proof does not hold")]
    Proof,
    /// An overwrite or delete without the live owner's valid signature.
    #[error("the live owner's signature is missing or wrong")]
    Owner,
    /// Past its expiry.
    #[error("expired")]
    Expired,
    /// The record's contents break a rule (policy, lengths, counts, lineage).
    #[error("the record breaks the policy")]
    Record,
    /// Manifest sequence not larger than the last.
    #[error("an older manifest")]
    OldManifest,
    /// A point that is not canonical, or the identity.
    #[error("not a group element")]
    Element,
}

/// What one command did.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// For the proposer.
    pub outcome: Outcome,
    /// For the edge.
    pub effects: Vec<Effect>,
}

impl Applied {
    /// Nothing changed, for this reason.
    pub(crate) fn refused(why: Refusal) -> Self {
        Self { outcome: Outcome::Refused(why), effects: Vec::new() }
    }

    /// Nothing needed to change: the same was done before.
    pub(crate) fn again() -> Self {
        Self { outcome: Outcome::Done, effects: Vec::new() }
    }

    pub(crate) fn done(effects: Vec<Effect>) -> Self {
        Self { outcome: Outcome::Done, effects }
    }
}

/// Work for the edge, in order, in the same disk transaction as the state.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Keep z masked; open the own share, check it against the record, keep it masked; keep the others' sealed.
    KeepSecrets {
        /// Whose.
        account: AccountId,
        /// Under which name.
        reg_id: RegId,
        /// To be masked.
        z: Secret32,
        /// To be opened (own) or kept (others').
        shares: Vec<SealedShare>,
    },
    /// Erase z and all shares of a registration.
    EraseSecrets {
        /// Whose.
        account: AccountId,
        /// Which.
        reg_id: RegId,
    },
    /// An attempt was charged: make its floor durable before evaluating.
    Floor {
        /// Whose. The floor's contents are the account's pending attempt.
        account: AccountId,
    },
    /// A deadline to watch (leader proposes Expire after it); None clears it.
    Deadline {
        /// Whose.
        account: AccountId,
        /// The earliest.
        at: Option<Time>,
    },
    /// Something that ChatD and devices may learn.
    Event(Event),
}

/// An entry of the feed to ChatD's projection and to devices. It holds no account id, because only vaults may know those.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Event {
    /// Whose.
    #[n(0)]
    pub route: Route,
    /// What.
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
    /// After the event: entry time of the confirmation of the live record, if there is one.
    #[n(7)]
    pub since: Option<Time>,
    /// After the event.
    #[n(8)]
    pub manifest: Option<Manifest>,
}

/// What happened.
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
