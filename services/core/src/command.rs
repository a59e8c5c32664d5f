//! Commands: the changes to the state. They contain all inputs of a decision, time and randomness included.

use minicbor::{Decode, Encode};

use crate::bounds::{
    CERTIFICATE, DOCUMENT, KE1, KE2, KE3, Oversized, RECORD, REGIONS, REGISTRATION_REQUEST,
    REGISTRATION_RESPONSE, SHARE_KEY, SHARE_TEXT, bytes, elements,
};
use crate::document::NewDocuments;
use crate::id::{
    AccountId, AttemptId, Element, Era, FleetId, Generation, Hash, Lineage, Ordinal, RegId, Route, Signature,
    WriterId,
};
use crate::record::{Record, SealedShare};
use crate::secret::Secret32;
use crate::signature::{OwnerSignature, RegionSignature};
use crate::statement::{self, Operation};
use crate::writers::{LedgerName, Naming, v_hash};

/// The newest version of the state that this program can apply. A change of a command or of what one does needs a new number. See [`crate::version`].
pub const VERSION: u32 = 4;

/// A change to the state.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum Command {
    /// Assigns the shard to a fleet. It is the shard's first command.
    #[n(0)]
    Init(#[n(0)] Init),
    /// Installs a newer admission list or policy.
    #[n(1)]
    Documents(#[n(0)] NewDocuments),
    /// Stores a registration beside the live one: the first phase.
    #[n(2)]
    Store(#[n(0)] Box<Store>),
    /// Makes a stored registration live: the second phase.
    #[n(3)]
    Confirm(#[n(0)] Confirm),
    /// Charges an attempt.
    #[n(4)]
    Begin(#[n(0)] Begin),
    /// The client closes its attempt.
    #[n(5)]
    GiveUp(#[n(0)] GiveUp),
    /// Ends an attempt with the client's proof of success.
    #[n(6)]
    Finish(#[n(0)] Finish),
    /// Ends a pending attempt or a stored registration whose deadline has passed.
    #[n(7)]
    Expire(#[n(0)] Expire),
    /// The owner names a writer's newest ledger.
    #[n(8)]
    SetLedger(#[n(0)] SetLedger),
    /// The owner deletes its key.
    #[n(9)]
    Delete(#[n(0)] Delete),
    /// The owner forgets a writer.
    #[n(10)]
    ForgetWriter(#[n(0)] ForgetWriter),
    /// Puts the next version of the state in force.
    #[n(11)]
    Raise(#[n(0)] Raise),
}

/// See [`Command::purpose`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Belongs to the fleet and to no account.
    Fleet,
    /// Closes an attempt or ends a stored registration.
    Closes,
    /// Deletes a key.
    Deletes,
    /// Any other change of an account.
    Changes,
}

impl Command {
    /// The account that the command changes, if any.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Init(_) | Self::Documents(_) | Self::Raise(_) => None,
            Self::Store(c) => Some(c.account),
            Self::Confirm(c) => Some(c.account),
            Self::Begin(c) => Some(c.account),
            Self::GiveUp(c) => Some(c.account),
            Self::Finish(c) => Some(c.account),
            Self::Expire(c) => Some(c.account),
            Self::SetLedger(c) => Some(c.account),
            Self::ForgetWriter(c) => Some(c.account),
            Self::Delete(c) => Some(c.account),
        }
    }

    /// The command's signature by the owner key, if it has one, and the operation that the owner signed.
    pub fn owner(&self) -> Option<(&OwnerSignature, Operation)> {
        match self {
            Self::Store(c) => Some((c.owner.as_ref()?, Operation::Register(c.record.hash()))),
            Self::SetLedger(c) => Some((&c.owner, Operation::SetLedger(c.naming()))),
            Self::ForgetWriter(c) => Some((&c.owner, Operation::ForgetWriter(c.writer, c.expected))),
            Self::Delete(c) => Some((&c.owner, Operation::Delete)),
            Self::Init(_)
            | Self::Documents(_)
            | Self::Raise(_)
            | Self::Confirm(_)
            | Self::Begin(_)
            | Self::GiveUp(_)
            | Self::Finish(_)
            | Self::Expire(_) => None,
        }
    }

    /// The version that the command puts in force, if its raise holds.
    pub const fn raises(&self) -> Option<u32> {
        match self {
            Self::Raise(c) => Some(c.version),
            _ => None,
        }
    }

    /// A vault that limits proposals decides by this which ones it takes.
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::Init(_) | Self::Documents(_) | Self::Raise(_) => Purpose::Fleet,
            Self::GiveUp(_) | Self::Finish(_) | Self::Expire(_) => Purpose::Closes,
            Self::Delete(_) => Purpose::Deletes,
            Self::Store(_)
            | Self::Confirm(_)
            | Self::Begin(_)
            | Self::SetLedger(_)
            | Self::ForgetWriter(_) => Purpose::Changes,
        }
    }

    /// Returns an error if a field exceeds its bound (see [`crate::bounds`]).
    pub fn check_size(&self) -> Result<(), Oversized> {
        match self {
            Self::Init(c) => documents(&c.documents.admission, &c.documents.policy),
            Self::Documents(c) => documents(&c.admission, &c.policy),
            Self::Raise(c) => {
                elements("raise.signatures", c.signatures.len(), REGIONS)?;
                c.signatures
                    .iter()
                    .try_for_each(|s| bytes("raise.signatures.certificate", s.certificate.len(), CERTIFICATE))
            }
            Self::Store(c) => {
                bytes("store.request", c.request.len(), REGISTRATION_REQUEST)?;
                bytes("store.response", c.response.len(), REGISTRATION_RESPONSE)?;
                bytes("store.record", c.record.encode().len(), RECORD)?;
                elements("store.shares", c.shares.len(), REGIONS)?;
                c.shares.iter().try_for_each(share)
            }
            Self::Confirm(c) => {
                elements("confirm.acknowledgements", c.acknowledgements.len(), REGIONS)?;
                c.acknowledgements.iter().try_for_each(|a| {
                    bytes("confirm.acknowledgements.certificate", a.certificate.len(), CERTIFICATE)
                })
            }
            Self::Begin(c) => {
                elements("begin.permits", c.permits.len(), REGIONS)?;
                c.permits
                    .iter()
                    .try_for_each(|p| bytes("begin.permits.certificate", p.certificate.len(), CERTIFICATE))
            }
            Self::Finish(c) => {
                bytes("finish.ke1", c.ke1.len(), KE1)?;
                bytes("finish.ke2", c.ke2.len(), KE2)?;
                bytes("finish.ke3", c.ke3.len(), KE3)
            }
            // Every field has a fixed size.
            Self::GiveUp(_)
            | Self::Expire(_)
            | Self::SetLedger(_)
            | Self::ForgetWriter(_)
            | Self::Delete(_) => Ok(()),
        }
    }
}

fn documents(admission: &[u8], policy: &[u8]) -> Result<(), Oversized> {
    bytes("documents.admission", admission.len(), DOCUMENT)?;
    bytes("documents.policy", policy.len(), DOCUMENT)
}

fn share(s: &SealedShare) -> Result<(), Oversized> {
    bytes("store.shares.enc", s.enc.len(), SHARE_KEY)?;
    bytes("store.shares.ct", s.ct.len(), SHARE_TEXT)
}

/// See [`Command::Init`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Init {
    /// Identifies the fleet.
    #[n(0)]
    pub fleet: FleetId,
    /// Hash of the first root keys and the fleet id.
    #[n(1)]
    pub lineage: Lineage,
    /// Rises when a new fleet takes over the lineage.
    #[n(2)]
    pub era: Era,
    /// The number of this shard.
    #[n(3)]
    pub shard: u16,
    /// The HMAC key of account ids, the same in all shards.
    #[n(4)]
    pub index: Secret32,
    /// The first documents.
    #[n(5)]
    pub documents: NewDocuments,
    /// The version of the state with which the shard begins.
    #[n(6)]
    pub version: u32,
}

/// See [`Command::Raise`]. It is the only command of its entry.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Raise {
    /// Must be one more than the version in force.
    #[n(0)]
    pub version: u32,
    /// By each region of the list in force, over [`crate::statement::applies`].
    #[n(1)]
    pub signatures: Vec<RegionSignature>,
}

/// See [`Command::Store`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Store {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// The public route, for ChatD's projection.
    #[n(1)]
    pub route: Route,
    /// The client's OPAQUE registration request.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub request: Vec<u8>,
    /// The leader's response. Each replica computes it again from z and the request and refuses a different one.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub response: Vec<u8>,
    /// The record to store.
    #[n(4)]
    pub record: Record,
    /// The n sealed shares, in the order of their slots.
    #[n(5)]
    pub shares: Vec<SealedShare>,
    /// The OPAQUE server secret, drawn by the leader for this registration.
    #[n(6)]
    pub z: Secret32,
    /// A signature by the owner key of the live record, if there is one. The payload is H(record).
    #[n(7)]
    pub owner: Option<OwnerSignature>,
}

/// See [`Command::Confirm`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Confirm {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// The stored registration.
    #[n(1)]
    pub reg_id: RegId,
    /// H(record).
    #[n(2)]
    pub record: Hash,
    /// At least t, each of another slot.
    #[n(3)]
    pub acknowledgements: Vec<RegionSignature>,
    /// A signature by the stored record's own owner key over [`crate::statement::confirm`].
    #[n(4)]
    pub signature: Signature,
    /// The tag of the person for whom the regions acknowledged, see [`crate::statement::subject`]. With it replicas rebuild what the regions signed
    /// without the person's name, which no log holds.
    #[n(5)]
    pub subject: Hash,
}

/// See [`Command::Begin`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Begin {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// Must be the generation of the live record.
    #[n(1)]
    pub generation: Generation,
    /// Must be one more than the account's ordinal.
    #[n(2)]
    pub ordinal: Ordinal,
    /// The id that the client chose.
    #[n(3)]
    pub attempt: AttemptId,
    /// The blinded element B.
    #[n(4)]
    pub blinded: Element,
    /// H(cancel).
    #[n(5)]
    pub cancel: Hash,
    /// Randomness drawn by the leader, see [`crate::account::Pending::seed`].
    #[n(6)]
    pub seed: Secret32,
    /// The client agrees that this may be the last try. Not part of the attempt's identity: a repetition is the same with and without it.
    #[n(7)]
    pub may_be_last: bool,
    /// For the last try: at least t, each of another slot, over [`crate::statement::permit`]. Otherwise ignored, and not part of the attempt's identity.
    #[n(8)]
    pub permits: Vec<RegionSignature>,
}

impl Begin {
    /// What a region signs to permit this attempt as the last one. `admission` is the number of the list in force.
    pub fn permit(&self, lineage: &Lineage, era: Era, admission: u64) -> Vec<u8> {
        statement::permit(
            lineage,
            era,
            &self.account,
            self.generation,
            self.ordinal,
            &self.attempt,
            &self.blinded,
            &self.cancel,
            admission,
        )
    }
}

/// See [`Command::GiveUp`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct GiveUp {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// The pending attempt.
    #[n(1)]
    pub attempt: AttemptId,
    /// The preimage of the H(cancel) in Begin, see [`crate::statement::cancel_hash`].
    #[n(2)]
    pub cancel: Secret32,
}

/// See [`Command::Finish`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Finish {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// The pending attempt.
    #[n(1)]
    pub attempt: AttemptId,
    /// As the client sent it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ke1: Vec<u8>,
    /// As the leader answered it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub ke2: Vec<u8>,
    /// As the client sent it.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub ke3: Vec<u8>,
}

/// See [`Command::Expire`]. It takes effect only if the entry time is past a deadline of the account.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Expire {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
}

/// See [`Command::SetLedger`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct SetLedger {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// The writer.
    #[n(1)]
    pub writer: WriterId,
    /// The hash of the ledger that must be named now. None for a writer that is not known.
    #[n(2)]
    pub expected: Option<Hash>,
    /// Its counter must be larger than that of the ledger that is named now.
    #[n(3)]
    pub ledger: LedgerName,
    /// A new V, or the V before it, which is taken back. None keeps V.
    #[n(4)]
    pub v: Option<Secret32>,
    /// The owner key's signature. The payload is [`SetLedger::naming`].
    #[n(5)]
    pub owner: OwnerSignature,
}

impl SetLedger {
    /// What the owner signs.
    pub fn naming(&self) -> Naming {
        let v = self.v.as_ref().map(v_hash);
        Naming { writer: self.writer, expected: self.expected, ledger: self.ledger, v }
    }
}

/// See [`Command::ForgetWriter`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct ForgetWriter {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// The writer.
    #[n(1)]
    pub writer: WriterId,
    /// The hash of the ledger that must be named now. So a signature that an attacker has kept back forgets no writer that has gone on.
    #[n(2)]
    pub expected: Hash,
    /// The owner key's signature. The payload is writer and expected hash.
    #[n(3)]
    pub owner: OwnerSignature,
}

/// See [`Command::Delete`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Delete {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// The owner key's signature. The payload is empty.
    #[n(1)]
    pub owner: OwnerSignature,
}
