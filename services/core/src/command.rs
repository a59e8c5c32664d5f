//! Log entries. They hold everything that a decision needs, time and randomness included.

use minicbor::{Decode, Encode};

use crate::account::Manifest;
use crate::id::{
    AccountId, AttemptId, Element, Era, FleetId, Generation, Hash, Lineage, OperationId, Ordinal, RegId,
    Route, Signature, Slot, Time,
};
use crate::record::{Record, SealedShare};
use crate::secret::Secret32;

/// One Raft entry: what the leader gathered into one commit.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Batch {
    /// The leader's clock. The state machine takes the larger of this and the last one, so entry times never decrease.
    #[n(0)]
    pub time: Time,
    /// In order.
    #[n(1)]
    pub commands: Vec<Command>,
}

/// A change to the state.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum Command {
    /// The first command of a shard: makes it belong to a fleet.
    #[n(0)]
    Init(#[n(0)] Init),
    /// New admission list or policy.
    #[n(1)]
    Documents(#[n(0)] NewDocuments),
    /// Two-phase registration, first half.
    #[n(2)]
    Store(#[n(0)] Box<Store>),
    /// Second half.
    #[n(3)]
    Confirm(#[n(0)] Confirm),
    /// Charge an attempt.
    #[n(4)]
    Begin(#[n(0)] Begin),
    /// The client closes its attempt.
    #[n(5)]
    GiveUp(#[n(0)] GiveUp),
    /// The client's proof of success.
    #[n(6)]
    Finish(#[n(0)] Finish),
    /// A deadline has passed: a pending attempt's, or a stored registration's.
    #[n(7)]
    Expire(#[n(0)] Expire),
    /// The owner names its newest backup.
    #[n(8)]
    SetManifest(#[n(0)] SetManifest),
    /// The owner deletes its key.
    #[n(9)]
    Delete(#[n(0)] Delete),
}

impl Command {
    /// The account that the command changes, if any.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Init(_) | Self::Documents(_) => None,
            Self::Store(c) => Some(c.account),
            Self::Confirm(c) => Some(c.account),
            Self::Begin(c) => Some(c.account),
            Self::GiveUp(c) => Some(c.account),
            Self::Finish(c) => Some(c.account),
            Self::Expire(c) => Some(c.account),
            Self::SetManifest(c) => Some(c.account),
            Self::Delete(c) => Some(c.account),
        }
    }
}

/// See [`Command::Init`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Init {
    /// Of the fleet.
    #[n(0)]
    pub fleet: FleetId,
    /// Of the fleet.
    #[n(1)]
    pub lineage: Lineage,
    /// Of the fleet.
    #[n(2)]
    pub era: Era,
    /// This shard.
    #[n(3)]
    pub shard: u16,
    /// The key of account ids; the same in every shard.
    #[n(4)]
    pub index: Secret32,
    /// The first documents.
    #[n(5)]
    pub documents: NewDocuments,
}

/// See [`Command::Documents`]. The documents as signed. Every replica checks them.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct NewDocuments {
    /// The signed admission list.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub admission: Vec<u8>,
    /// The signed policy.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub policy: Vec<u8>,
}

/// See [`Command::Store`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Store {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// For ChatD's projection.
    #[n(1)]
    pub route: Route,
    /// The client's OPAQUE registration request.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub request: Vec<u8>,
    /// The leader's response; every replica recomputes it from z and the request.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub response: Vec<u8>,
    /// What is registered.
    #[n(4)]
    pub record: Record,
    /// n of them.
    #[n(5)]
    pub shares: Vec<SealedShare>,
    /// Made by the leader for this registration.
    #[n(6)]
    pub z: Secret32,
    /// The live generation's owner, if there is a live one: payload H(record).
    #[n(7)]
    pub owner: Option<OwnerSignature>,
}

/// A signature by an owner key over {label, operation, lineage, era, account, live generation, H(payload), operation id, expiry}.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct OwnerSignature {
    /// Random; a retry repeats it.
    #[n(0)]
    pub operation: OperationId,
    /// Void after this (entry time).
    #[n(1)]
    pub expires: Time,
    /// Ed25519.
    #[n(2)]
    pub signature: Signature,
}

/// Signed by a region: it has stored a registration and can open its share.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Acknowledgement {
    /// Which region.
    #[n(0)]
    pub slot: Slot,
    /// The boot key's certificate by the region's identity, as encoded by `bkv-wire`.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
    /// By the boot key, over [`crate::statement::acknowledgement`].
    #[n(2)]
    pub signature: Signature,
}

/// See [`Command::Confirm`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Confirm {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// Which registration.
    #[n(1)]
    pub reg_id: RegId,
    /// H(record).
    #[n(2)]
    pub record: Hash,
    /// At least t, of distinct slots.
    #[n(3)]
    pub acknowledgements: Vec<Acknowledgement>,
    /// By the record's own owner key, over [`crate::statement::confirm`].
    #[n(4)]
    pub signature: Signature,
}

/// See [`Command::Begin`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Begin {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// Must be the live one.
    #[n(1)]
    pub generation: Generation,
    /// Must be exactly one more than the last.
    #[n(2)]
    pub ordinal: Ordinal,
    /// The id that the client chose.
    #[n(3)]
    pub attempt: AttemptId,
    /// B.
    #[n(4)]
    pub blinded: Element,
    /// H(cancel).
    #[n(5)]
    pub cancel: Hash,
    /// The leader's randomness.
    #[n(6)]
    pub seed: Secret32,
}

/// See [`Command::GiveUp`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct GiveUp {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// Which attempt.
    #[n(1)]
    pub attempt: AttemptId,
    /// The preimage of H(cancel) = SHA-256(cancel) tagged "bkv/cancel/1".
    #[n(2)]
    pub cancel: Secret32,
}

/// See [`Command::Finish`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Finish {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// Which attempt.
    #[n(1)]
    pub attempt: AttemptId,
    /// As sent by the client.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ke1: Vec<u8>,
    /// As answered.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub ke2: Vec<u8>,
    /// As sent by the client.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub ke3: Vec<u8>,
}

/// See [`Command::Expire`]. Takes effect only if the entry's time is past the deadline in the state.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Expire {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
}

/// See [`Command::SetManifest`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct SetManifest {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// Its sequence must be larger than the last.
    #[n(1)]
    pub manifest: Manifest,
    /// Payload: the manifest.
    #[n(2)]
    pub owner: OwnerSignature,
}

/// See [`Command::Delete`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Delete {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// Payload: empty.
    #[n(1)]
    pub owner: OwnerSignature,
}
