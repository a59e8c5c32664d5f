//! The state of one account. It is replicated, so all replicas hold the same. z and the shares are kept elsewhere (see [`crate::effect`]).

use minicbor::{Decode, Encode};

use crate::id::{AttemptId, Element, Generation, Hash, OperationId, Ordinal, RegId, Route, Signature, Time};
use crate::record::Record;
use crate::secret::Secret32;

/// The replicated state of an account. Absent means: never registered.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Account {
    /// The public route. ChatD's projection knows accounts by it only.
    #[n(0)]
    pub route: Route,
    /// The generation of the live record, or of the last one if it is gone. Only grows.
    #[n(1)]
    pub generation: Generation,
    /// Attempts begun in this generation. Only grows; 0 after a registration.
    #[n(2)]
    pub ordinal: Ordinal,
    /// The newest success of this generation, with what proves it.
    #[n(3)]
    pub last_success: Option<Success>,
    /// Failures in the life of this generation. `Begin` adds one, the `Finish` of the same attempt takes it off again, and nothing else does. A confirmed
    /// registration sets it to 0.
    #[n(4)]
    pub lifetime_failures: u32,
    /// The attempt that is open.
    #[n(5)]
    pub pending: Option<Pending>,
    /// The record that can be recovered.
    #[n(6)]
    pub live: Option<Live>,
    /// Registered, not yet confirmed.
    #[n(7)]
    pub stored: Option<Stored>,
    /// No attempt before this (entry time).
    #[n(8)]
    pub next_allowed: Time,
    /// Sequence and hash of the newest backup, as the owner signed them.
    #[n(9)]
    pub manifest: Option<Manifest>,
    /// Why there is no live record, if there was one.
    #[n(10)]
    pub ended: Option<Ended>,
    /// The newest operation that the owner signed. A retry of it is answered and changes nothing.
    #[n(11)]
    pub last_operation: Option<OperationId>,
    /// When the first registration was stored.
    #[n(12)]
    pub created: Time,
    /// The entry that last changed this account: its log index.
    #[n(13)]
    pub changed: u64,
    /// The attempt that finished last, so that its Finish can be answered again.
    #[n(14)]
    pub finished: Option<AttemptId>,
    /// The seed of that attempt. With z, KE1 and the context any replica derives the same session key again, so a leader can repeat a lost reply.
    #[n(15)]
    pub finished_seed: Option<Secret32>,
    /// Attempts of this generation that ended without success, oldest first, at most as many as the budget. Their ids are refused. Otherwise two devices
    /// that repeat their attempts after a lost reply would supersede each other in turn, and each repetition would cost a try.
    #[n(16)]
    #[cbor(default)]
    pub failed: Vec<AttemptId>,
}

/// A live record.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Live {
    /// As confirmed.
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
    /// Gone after this.
    #[n(3)]
    pub expires: Time,
    /// The generation it replaces; Confirm compares and swaps on it.
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
    /// H(cancel). The client that shows the preimage may close the attempt.
    #[n(3)]
    pub cancel: Hash,
    /// Randomness for KE2 and, with the share, for the proofs. It is in the log, where root of one region reads it, so nothing may rest on it alone.
    #[n(4)]
    pub seed: Secret32,
    /// Entry time after which it counts as failed.
    #[n(5)]
    pub deadline: Time,
    /// This is the last try. If it ends without success, the key is destroyed.
    #[n(6)]
    pub last: bool,
    /// Log index of its Begin.
    #[n(7)]
    pub index: u64,
    /// `last_success.ordinal` when the attempt began, 0 if none. Every evaluation's statement holds it, so it must not change while the attempt is open.
    #[n(8)]
    pub success_before: Ordinal,
}

/// A success and its proof. Anybody with the record can check it again.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Success {
    /// Of which attempt.
    #[n(0)]
    pub ordinal: Ordinal,
    /// Its id.
    #[n(1)]
    pub attempt: AttemptId,
    /// Its B.
    #[n(2)]
    pub blinded: Element,
    /// KE1 ‖ KE2 without the server's signature. The client signed the context and this.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub transcript: Vec<u8>,
    /// The client's signature in KE3.
    #[n(4)]
    pub signature: Signature,
}

/// Names the newest backup, as its owner signed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Manifest {
    /// Only grows.
    #[n(0)]
    pub sequence: u64,
    /// Of the backup's header.
    #[n(1)]
    pub hash: Hash,
}

/// Why a key is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Ended {
    /// Cause.
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
    /// Too many wrong attempts.
    #[n(0)]
    Exhausted,
    /// The owner asked.
    #[n(1)]
    Deleted,
}

/// The state of an account. Derived, never stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum State {
    /// Never registered (or only stored).
    #[n(0)]
    None,
    /// A key that can be recovered.
    #[n(1)]
    Live,
    /// The last try is open.
    #[n(2)]
    LastTry,
    /// Too many failures in the life of the registration: no attempt is allowed, and nothing is destroyed. The owner's next registration unlocks it.
    #[n(3)]
    Locked,
    /// Destroyed by too many attempts.
    #[n(4)]
    Destroyed,
    /// Deleted by its owner.
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
    /// The earliest moment at which an Expire would change something.
    pub fn deadline(&self) -> Option<Time> {
        let pending = self.pending.as_ref().map(|p| p.deadline);
        let stored = self.stored.as_ref().map(|s| s.expires);
        pending.into_iter().chain(stored).min()
    }

    /// An account of which nothing is registered yet.
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
            manifest: None,
            ended: None,
            last_operation: None,
            created,
            changed,
            finished: None,
            finished_seed: None,
            failed: Vec::new(),
        }
    }

    /// max(0, budget − (ordinal − `last_success`.ordinal)). Tries come back only with a login proof that every replica verifies itself.
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

    /// H(record) of the live record, or all zero: attestations name it.
    pub fn record_hash(&self) -> Hash {
        self.live.as_ref().map_or(Hash([0; 32]), |l| l.hash)
    }
}
