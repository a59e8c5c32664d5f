//! Log entries. They contain all inputs of a decision, time and randomness included.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::account::Manifest;
use crate::id::{
    AccountId, AttemptId, Element, Era, FleetId, Generation, Hash, Lineage, OperationId, Ordinal, RegId,
    Route, Signature, Slot, Time,
};
use crate::record::{Record, SealedShare};
use crate::secret::Secret32;
use crate::statement;
use crate::version::Version;

/// One Raft entry: what the leader gathered into one commit. Encoded as [version, time, commands]. The version comes first: a program that does not know it must
/// say so, and not that it can't decode a command.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// The leader's clock. The state machine takes the larger of this and the last entry time, so entry times never decrease.
    pub time: Time,
    /// Applied in this order.
    pub commands: Vec<Command>,
}

impl<C> Encode<C> for Batch {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(3)?.encode_with(Version, c)?.encode_with(self.time, c)?.encode_with(&self.commands, c)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Batch {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, decode::Error> {
        let length = d.array()?;
        let _: Version = d.decode_with(c)?;
        if length != Some(3) {
            return Err(decode::Error::message("an entry has three parts"));
        }
        Ok(Self { time: d.decode_with(c)?, commands: d.decode_with(c)? })
    }
}

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
    /// Identifies the fleet.
    #[n(0)]
    pub fleet: FleetId,
    /// Identifies the fleet.
    #[n(1)]
    pub lineage: Lineage,
    /// Identifies the fleet.
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
}

/// See [`Command::Documents`]. Each replica checks the signatures.
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

/// A signature by an owner key over {label, operation, lineage, era, account, live generation, H(payload), operation id, expiry}.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct OwnerSignature {
    /// Drawn by the client. A repetition uses the same one.
    #[n(0)]
    pub operation: OperationId,
    /// The entry time after which the signature is void.
    #[n(1)]
    pub expires: Time,
    /// Ed25519.
    #[n(2)]
    pub signature: Signature,
}

/// A region's signature with its boot key: that it has stored a registration and can open its share, that it permits a last try, or what its state is at a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RegionSignature {
    /// The slot of the region.
    #[n(0)]
    pub slot: Slot,
    /// The boot key's certificate by the region's identity, as encoded by `bkv-wire`.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
    /// The boot key's signature over [`crate::statement::acknowledgement`], [`crate::statement::permit`] or [`crate::statement::checkpoint`].
    #[n(2)]
    pub signature: Signature,
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

/// See [`Command::SetManifest`].
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct SetManifest {
    /// The account that it changes.
    #[n(0)]
    pub account: AccountId,
    /// Its sequence must be larger than that of the account's manifest.
    #[n(1)]
    pub manifest: Manifest,
    /// The owner key's signature. The payload is the manifest.
    #[n(2)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::VERSION;

    /// S52: an entry of a version that this program does not know, with a command and fields that it does not know.
    #[test]
    fn s52_a_newer_command_stops_with_words() {
        let known =
            Batch { time: Time(7), commands: vec![Command::Expire(Expire { account: AccountId([1; 32]) })] };
        let bytes = minicbor::to_vec(&known).unwrap();
        assert_eq!(minicbor::decode::<Batch>(&bytes).unwrap(), known);
        for (found, more) in [(VERSION + 1, 4), (VERSION + 1, 3), (VERSION - 1, 3)] {
            let mut e = Encoder::new(Vec::new());
            e.array(more).unwrap().u32(found).unwrap().u64(7).unwrap();
            e.array(1).unwrap().array(2).unwrap().u32(99).unwrap().str("a command of that version").unwrap();
            let error = minicbor::decode::<Batch>(e.writer()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("version {found}, but this program knows version {VERSION}")),
                "{error}"
            );
        }
    }
}
