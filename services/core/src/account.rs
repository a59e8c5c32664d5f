//! The state of one account. It is replicated: all replicas hold the same. z and the shares are not part of it (see [`crate::effect`]).

use minicbor::{Decode, Encode};

use crate::id::{AttemptId, Element, Generation, Hash, OperationId, Ordinal, RegId, Route, Signature, Time};
use crate::record::Record;
use crate::secret::Secret32;
use crate::writers::{self, Retired, Writer};

/// The replicated state of an account. An account that was never registered has none.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Account {
    /// The public route. ChatD's projection knows accounts by it only.
    #[n(0)]
    pub route: Route,
    /// The generation of the live record, or of the last one after its end. Never decreases.
    #[n(1)]
    pub generation: Generation,
    /// The number of attempts begun in this generation. A confirmed registration sets it to 0.
    #[n(2)]
    pub ordinal: Ordinal,
    /// The newest success of this generation, with its proof.
    #[n(3)]
    pub last_success: Option<Success>,
    /// Failures in the life of this generation. `Begin` adds one. Only the `Finish` of the same attempt subtracts it again. A confirmed registration
    /// sets it to 0.
    #[n(4)]
    pub lifetime_failures: u32,
    /// The open attempt.
    #[n(5)]
    pub pending: Option<Pending>,
    /// The record from which the key can be recovered.
    #[n(6)]
    pub live: Option<Live>,
    /// A registration that is not confirmed yet.
    #[n(7)]
    pub stored: Option<Stored>,
    /// The entry time before which `Begin` is refused.
    #[n(8)]
    pub next_allowed: Time,
    /// The newest ledger of each writer, and V. Sorted by id, at most [`MAX_WRITERS`](crate::writers::MAX_WRITERS).
    #[n(9)]
    pub writers: Vec<Writer>,
    /// Why there is no live record, if there was one.
    #[n(10)]
    pub ended: Option<Ended>,
    /// The owner operation on writers, or the `Delete`, that was applied last. A repetition of it succeeds and changes nothing.
    #[n(11)]
    pub last_operation: Option<OperationId>,
    /// When the first registration was stored.
    #[n(12)]
    pub created: Time,
    /// Log index of the entry that last changed this account.
    #[n(13)]
    pub changed: u64,
    /// The attempt that finished last. A repetition of its `Finish` gets the same answer.
    #[n(14)]
    pub finished: Option<AttemptId>,
    /// The seed of that attempt. From it, z, KE1 and the context any replica derives the same session key again, so a leader can repeat a lost reply.
    #[n(15)]
    pub finished_seed: Option<Secret32>,
    /// Attempts of this generation that ended without success, oldest first, at most as many as the budget. `Begin` refuses their ids. Otherwise two
    /// devices that repeat their attempts after a lost reply would supersede each other in turn, and each repetition would cost a try.
    #[n(16)]
    #[cbor(default)]
    pub failed: Vec<AttemptId>,
    /// Writers of keys that were destroyed, deleted or replaced, at most [`MAX_RETIRED`](crate::writers::MAX_RETIRED).
    #[n(17)]
    #[cbor(default)]
    pub retired: Vec<Retired>,
    /// How many writers of this account were forgotten. A replica can tell by it whether a snapshot may lack a writer.
    #[n(18)]
    #[cbor(default)]
    pub forgotten: u32,
    /// The generation in which the live owner key was first registered, or first again after its map had gone.
    #[n(19)]
    #[cbor(default)]
    pub owner_since: Generation,
}

/// A live record.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Live {
    /// The record that `Confirm` made live.
    #[n(0)]
    pub record: Record,
    /// H(record).
    #[n(1)]
    pub hash: Hash,
    /// H(all sealed shares), for acknowledgements and re-sharing.
    #[n(2)]
    pub shares: Hash,
    /// Entry time of the confirmation.
    #[n(3)]
    pub since: Time,
}

/// A registration between Store and Confirm.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Stored {
    /// As stored.
    #[n(0)]
    pub record: Record,
    /// H(record).
    #[n(1)]
    pub hash: Hash,
    /// H(all sealed shares).
    #[n(2)]
    pub shares: Hash,
    /// The entry time after which it is dropped.
    #[n(3)]
    pub expires: Time,
    /// The generation that it replaces. `Confirm` refuses it as stale if the account has another generation by then.
    #[n(4)]
    pub base: Generation,
}

/// An attempt that has been charged.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Pending {
    /// The id that the client chose.
    #[n(0)]
    pub attempt: AttemptId,
    /// Its place in the generation.
    #[n(1)]
    pub ordinal: Ordinal,
    /// B.
    #[n(2)]
    pub blinded: Element,
    /// H(cancel). A client that sends the preimage may close the attempt.
    #[n(3)]
    pub cancel: Hash,
    /// Randomness for KE2 and, with the share, for the proofs. An attacker who is root in one region reads it in the log, so no secret may depend on
    /// it alone.
    #[n(4)]
    pub seed: Secret32,
    /// Entry time after which it counts as failed.
    #[n(5)]
    pub deadline: Time,
    /// True for the last try. If it ends without success, the key is destroyed.
    #[n(6)]
    pub last: bool,
    /// Log index of its Begin.
    #[n(7)]
    pub index: u64,
    /// `last_success.ordinal` when the attempt began, 0 if none. Each evaluation's statement contains it, so it must not change while the attempt is
    /// open.
    #[n(8)]
    pub success_before: Ordinal,
    /// Of a last try: how often a `Begin` named its id with another B or H(cancel). See [`Pending::MAX_CONFLICTS`].
    #[n(9)]
    pub conflicts: u8,
}

impl Pending {
    /// After so many conflicts the id of a last try answers no further `Begin`. A device keeps a file from which it can begin its last try again. Each
    /// conflict is a guess of a thief who has that file and the account's token.
    pub const MAX_CONFLICTS: u8 = 8;

    /// True if the id of this last try answers no further `Begin`.
    pub const fn is_spent(&self) -> bool {
        self.last && self.conflicts >= Self::MAX_CONFLICTS
    }
}

/// A success and its proof. A replica that has the record can check the proof again.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Success {
    /// The ordinal of the attempt.
    #[n(0)]
    pub ordinal: Ordinal,
    /// The id of the attempt.
    #[n(1)]
    pub attempt: AttemptId,
    /// The blinded element B of the attempt.
    #[n(2)]
    pub blinded: Element,
    /// KE1 ‖ KE2 without the server's signature. The client's signature covers the context and this.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub transcript: Vec<u8>,
    /// The client's signature in KE3.
    #[n(4)]
    pub signature: Signature,
}

/// Why a key is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Ended {
    /// See [`Cause`].
    #[n(0)]
    pub cause: Cause,
    /// Entry time.
    #[n(1)]
    pub at: Time,
    /// The registration whose secrets were erased.
    #[n(2)]
    pub reg_id: RegId,
}

/// Causes of an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Cause {
    /// The last try failed.
    #[n(0)]
    Exhausted,
    /// A `Delete` signed by the owner key.
    #[n(1)]
    Deleted,
}

/// The state of an account as users see it. It is derived and never stored in the account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum State {
    /// Never registered, or stored and not confirmed.
    #[n(0)]
    None,
    /// A key that can be recovered.
    #[n(1)]
    Live,
    /// The last try is open.
    #[n(2)]
    LastTry,
    /// Lifetime failures are at the limit. No attempt is allowed and nothing is destroyed. A registration signed with the owner key unlocks it.
    #[n(3)]
    Locked,
    /// Destroyed because the last try failed.
    #[n(4)]
    Destroyed,
    /// Deleted with the owner key.
    #[n(5)]
    Deleted,
}

impl State {
    /// Its name in the JSON of ChatD and of `bkv status`, and in ChatD's database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Live => "live",
            Self::LastTry => "last-try",
            Self::Locked => "locked",
            Self::Destroyed => "destroyed",
            Self::Deleted => "deleted",
        }
    }
}

impl Account {
    /// The earliest deadline. An `Expire` after it changes the account.
    pub fn deadline(&self) -> Option<Time> {
        let pending = self.pending.as_ref().map(|p| p.deadline);
        let stored = self.stored.as_ref().map(|s| s.expires);
        pending.into_iter().chain(stored).chain(writers::deadline(&self.writers, &self.retired)).min()
    }

    /// True until the first registration is confirmed. Nothing but that registration is known of the account.
    pub fn is_unconfirmed(&self) -> bool {
        self.generation == Generation(0)
    }

    /// An account without a registration.
    pub const fn new(route: Route, created: Time, changed: u64) -> Self {
        Self {
            route,
            generation: Generation(0),
            ordinal: Ordinal(0),
            last_success: None,
            lifetime_failures: 0,
            pending: None,
            live: None,
            stored: None,
            next_allowed: Time(0),
            writers: Vec::new(),
            ended: None,
            last_operation: None,
            created,
            changed,
            finished: None,
            finished_seed: None,
            failed: Vec::new(),
            retired: Vec::new(),
            forgotten: 0,
            owner_since: Generation(0),
        }
    }

    /// max(0, budget − (ordinal − `last_success`.ordinal)). Only a login proof that each replica verifies itself gives tries back.
    pub fn tries_left(&self) -> u32 {
        let Some(live) = &self.live else { return 0 };
        let used = self.failures();
        u32::try_from(u64::from(live.record.attempts.max).saturating_sub(used)).unwrap_or(0)
    }

    /// Attempts since the newest success, an open one included.
    pub fn failures(&self) -> u64 {
        self.ordinal.0.saturating_sub(self.success_ordinal().0)
    }

    /// `last_success.ordinal`, 0 if there is none.
    pub fn success_ordinal(&self) -> Ordinal {
        self.last_success.as_ref().map_or(Ordinal(0), |s| s.ordinal)
    }

    /// See [`State`].
    pub fn state(&self) -> State {
        match (&self.live, &self.ended) {
            (Some(_), _) if self.pending.as_ref().is_some_and(|p| p.last) => State::LastTry,
            (Some(live), _) if self.lifetime_failures >= live.record.attempts.lifetime_failures => {
                State::Locked
            }
            (Some(_), _) => State::Live,
            (None, Some(Ended { cause: Cause::Exhausted, .. })) => State::Destroyed,
            (None, Some(Ended { cause: Cause::Deleted, .. })) => State::Deleted,
            (None, None) => State::None,
        }
    }

    /// H(record) of the live record, or zeros without one. Attestations contain it.
    pub fn record_hash(&self) -> Hash {
        self.live.as_ref().map_or(Hash([0; 32]), |l| l.hash)
    }
}
