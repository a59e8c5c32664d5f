//! The two root-signed documents after `bkv-wire` has checked their signatures, lineage, era and dates.

use minicbor::{Decode, Encode};

use crate::id::{Era, Hash, Lineage, NodeId, PublicKey, Slot, Time};
use crate::record::{AttemptPolicy, KsfParams};

/// One entry of the admission list: the vault of one region.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Member {
    /// A name for people: `eu-west`.
    #[n(0)]
    pub region: String,
    /// The number on the list, 1 to n.
    #[n(1)]
    pub slot: Slot,
    /// The Raft node id.
    #[n(2)]
    pub node: NodeId,
    /// SPKI DER of the token's `identity` key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub identity: Vec<u8>,
    /// The HPKE X25519 public key to which clients seal this region's OPRF shares.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub delivery: Vec<u8>,
}

impl Member {
    /// True if the other entry, of another list, is of the same vault: its slot, node id and identity are the same.
    pub fn is_same_vault(&self, other: &Self) -> bool {
        (self.slot, self.node, &self.identity) == (other.slot, other.node, &other.identity)
    }
}

/// The admission list: all vaults of the fleet. n, t and the slots come from here only.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Admission {
    /// The lineage of the fleet.
    #[n(0)]
    pub lineage: Lineage,
    /// Identifies the fleet within the lineage.
    #[n(1)]
    pub era: Era,
    /// Each newer document has a larger one.
    #[n(2)]
    pub number: u64,
    /// Vaults and clients refuse it before.
    #[n(3)]
    pub not_before: Time,
    /// Vaults and clients refuse it after.
    #[n(4)]
    pub not_after: Time,
    /// t = ⌊n/2⌋+1.
    #[n(5)]
    pub threshold: u8,
    /// In the order of their slots.
    #[n(6)]
    pub members: Vec<Member>,
    /// SHA-256 of the body that the root has signed. Another set of signatures makes no other document.
    #[n(7)]
    pub hash: Hash,
}

impl Admission {
    /// The member at `slot`.
    pub fn member(&self, slot: Slot) -> Option<&Member> {
        self.members.iter().find(|m| m.slot == slot)
    }

    /// The member with Raft id `node`.
    pub fn node(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|m| m.node == node)
    }
}

/// Where vaults get the keys that sign clients' tokens. The root signs it, so an attacker who controls ChatD or one region can't redirect the token
/// checks.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum JwksSource {
    /// The JWKS itself, JSON.
    #[n(0)]
    Inline(#[n(0)] String),
    /// An https URL.
    #[n(1)]
    Url(#[n(0)] String),
}

/// The rules that the fleet enforces.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Policy {
    /// The lineage of the fleet.
    #[n(0)]
    pub lineage: Lineage,
    /// Identifies the fleet within the lineage.
    #[n(1)]
    pub era: Era,
    /// Each newer document has a larger one.
    #[n(2)]
    pub number: u64,
    /// Vaults and clients refuse it before.
    #[n(3)]
    pub not_before: Time,
    /// Vaults and clients refuse it after.
    #[n(4)]
    pub not_after: Time,
    /// `iss` of every token.
    #[n(5)]
    pub issuer: String,
    /// `aud` of the token that travels inside the encrypted channel.
    #[n(6)]
    pub vault_audience: String,
    /// `aud` of the token that ChatD checks. It must differ from `vault_audience`.
    #[n(7)]
    pub chatd_audience: String,
    /// The issuer's keys.
    #[n(8)]
    pub jwks: JwksSource,
    /// Name of the enrolment claim, if the issuer has one.
    #[n(9)]
    pub enrolment_claim: Option<String>,
    /// The attempt policy. Each new record keeps a copy, which later policies don't change.
    #[n(10)]
    pub attempts: AttemptPolicy,
    /// How long a stored registration may wait for its confirmation, in milliseconds.
    #[n(11)]
    pub store_ms: u64,
    /// The least stretching that a client accepts and a record may have.
    #[n(12)]
    pub ksf_floor: KsfParams,
    /// The most stretching that a client accepts, so that a fleet can't exhaust phones.
    #[n(13)]
    pub ksf_ceiling: KsfParams,
    /// The number of shards. It never changes.
    #[n(14)]
    pub shards: u16,
    /// SHA-256 of the body that the root has signed. Another set of signatures makes no other document.
    #[n(15)]
    pub hash: Hash,
    /// True in a development fleet. Clients show a warning.
    #[n(16)]
    pub development: bool,
    /// How long after its `iat` a vault accepts a token, in milliseconds. It bounds for how long a rooted region can use the tokens that it has seen.
    #[n(17)]
    pub token_max_age_ms: u64,
    /// True if vaults take only tokens that name a key of the client (`cnf.jkt`). A rooted region that has seen such a token can't use it. False is not encoded, so
    /// documents from before this field keep their bytes and the state its digest.
    #[cbor(n(18), default, skip_if = "is_false")]
    pub bound_tokens: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // minicbor calls it with a reference
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Both documents, signed and parsed. They are replicated, so all replicas check acknowledgements against the same list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Documents {
    /// Parsed.
    #[n(0)]
    pub admission: Admission,
    /// Parsed.
    #[n(1)]
    pub policy: Policy,
    /// The signed bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub admission_signed: Vec<u8>,
    /// The signed bytes.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub policy_signed: Vec<u8>,
}

/// A boot key whose certificate by the vault's identity has been checked against the admission list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootKey {
    /// The slot of the vault.
    pub slot: Slot,
    /// Ed25519.
    pub key: PublicKey,
}

/// See [`crate::command::Command::Documents`]. Each replica checks the signatures.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct NewDocuments {
    /// The signed admission list.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub admission: Vec<u8>,
    /// The signed policy.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub policy: Vec<u8>,
}
