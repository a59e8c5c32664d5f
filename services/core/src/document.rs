//! The two root-signed documents once their signatures, lineage, era and dates have been checked (`bkv-wire` does that).

use minicbor::{Decode, Encode};

use crate::id::{Era, Hash, Lineage, NodeId, PublicKey, Slot, Time};
use crate::record::{AttemptPolicy, KsfParams};

/// One vault on the admission list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Member {
    /// A name for people: `eu-west`.
    #[n(0)]
    pub region: String,
    /// 1..=n.
    #[n(1)]
    pub slot: Slot,
    /// Raft id.
    #[n(2)]
    pub node: NodeId,
    /// SPKI DER of the token's `identity` key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub identity: Vec<u8>,
    /// HPKE X25519 public key that OPRF shares are sealed to.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub delivery: Vec<u8>,
}

/// The admission list: which vaults exist. n, t and slots come from here only.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Admission {
    /// Whose.
    #[n(0)]
    pub lineage: Lineage,
    /// Which fleet of the lineage.
    #[n(1)]
    pub era: Era,
    /// Only grows.
    #[n(2)]
    pub number: u64,
    /// Not obeyed before.
    #[n(3)]
    pub not_before: Time,
    /// Not obeyed after.
    #[n(4)]
    pub not_after: Time,
    /// ⌊n/2⌋+1.
    #[n(5)]
    pub threshold: u8,
    /// In the order of their slots.
    #[n(6)]
    pub members: Vec<Member>,
    /// SHA-256 of the signed bytes.
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

/// Where the keys that sign clients' tokens come from. The root signs it, so that no operator of ChatD or of one region can redirect token checks.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum JwksSource {
    /// The JWKS itself, JSON.
    #[n(0)]
    Inline(#[n(0)] String),
    /// An https URL.
    #[n(1)]
    Url(#[n(0)] String),
}

/// What the fleet enforces.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Policy {
    /// Whose.
    #[n(0)]
    pub lineage: Lineage,
    /// Which fleet of the lineage.
    #[n(1)]
    pub era: Era,
    /// Only grows.
    #[n(2)]
    pub number: u64,
    /// Not obeyed before.
    #[n(3)]
    pub not_before: Time,
    /// Not obeyed after.
    #[n(4)]
    pub not_after: Time,
    /// `iss` of every token.
    #[n(5)]
    pub issuer: String,
    /// `aud` of the token that travels inside the encrypted channel.
    #[n(6)]
    pub vault_audience: String,
    /// `aud` of the token that ChatD checks. Differs from the vault's.
    #[n(7)]
    pub chatd_audience: String,
    /// The issuer's keys.
    #[n(8)]
    pub jwks: JwksSource,
    /// Name of the enrolment claim, if the issuer has one.
    #[n(9)]
    pub enrolment_claim: Option<String>,
    /// What a record registered now freezes.
    #[n(10)]
    pub attempts: AttemptPolicy,
    /// How long a stored registration may wait for its confirmation, milliseconds.
    #[n(11)]
    pub store_ms: u64,
    /// The least stretching that a client accepts and a record may have.
    #[n(12)]
    pub ksf_floor: KsfParams,
    /// The most stretching, so that a fleet can't exhaust phones.
    #[n(13)]
    pub ksf_ceiling: KsfParams,
    /// Number of shards; fixed when the fleet is made.
    #[n(14)]
    pub shards: u16,
    /// SHA-256 of the signed bytes.
    #[n(15)]
    pub hash: Hash,
    /// Set in a development fleet. Clients show it.
    #[n(16)]
    pub development: bool,
}

/// Both documents, as signed and as read, in the replicated state: every replica judges acknowledgements by the same list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Documents {
    /// As read.
    #[n(0)]
    pub admission: Admission,
    /// As read.
    #[n(1)]
    pub policy: Policy,
    /// As signed.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub admission_signed: Vec<u8>,
    /// As signed.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub policy_signed: Vec<u8>,
}

/// A boot key as its vault's identity certified it, once that has been checked against the admission list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootKey {
    /// Whose.
    pub slot: Slot,
    /// Ed25519.
    pub key: PublicKey,
}
