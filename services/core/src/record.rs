//! What a registration leaves behind: the public, hashed part of a record. z and the shares lie beside it, masked, at the edge.

use minicbor::{Decode, Encode};

use crate::encoding::cbor;
use crate::hash::tagged;
use crate::id::{AccountId, Element, Era, Generation, Hash, Lineage, PublicKey, RegId};

/// Argon2id's parameters (RFC 9106). All zero means: no stretching, which only the bench-only feature accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct KsfParams {
    /// Memory, KiB.
    #[n(0)]
    pub memory_kib: u32,
    /// Passes.
    #[n(1)]
    pub passes: u32,
    /// Lanes.
    #[n(2)]
    pub lanes: u32,
}

/// The attempt policy, frozen into each record when it is registered, so that editing the fleet's policy refills nobody's guesses.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AttemptPolicy {
    /// Attempts between two proved successes. The one that leaves none is final.
    #[n(0)]
    pub max: u32,
    /// Failures over the life of one registration after which the account locks. Never destroys.
    #[n(1)]
    pub lifetime_failures: u32,
    /// `waits[i]` milliseconds must pass after failure i+1 before the next attempt; the last one repeats.
    #[n(2)]
    pub waits_ms: Vec<u64>,
    /// How long the last try may stay open before it counts as failed, milliseconds.
    #[n(3)]
    pub last_try_ms: u64,
    /// How long any other attempt may stay open, milliseconds.
    #[n(4)]
    pub attempt_ms: u64,
}

impl AttemptPolicy {
    /// The wait after `failures` failures in a row, in milliseconds.
    pub fn wait_after(&self, failures: u64) -> u64 {
        let Some(last) = self.waits_ms.last() else { return 0 };
        let Some(i) = failures.checked_sub(1) else { return 0 };
        usize::try_from(i).ok().and_then(|i| self.waits_ms.get(i)).copied().unwrap_or(*last)
    }
}

/// The record that H(record) covers. Encoded as deterministic CBOR (RFC 8949 §4.2): an array in the order of the field numbers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Record {
    /// Whose fleet.
    #[n(0)]
    pub lineage: Lineage,
    /// Which fleet of the lineage.
    #[n(1)]
    pub era: Era,
    /// Whose key.
    #[n(2)]
    pub account: AccountId,
    /// The generation that this record becomes when it is confirmed: the base generation plus one.
    #[n(3)]
    pub generation: Generation,
    /// The leader's name for the registration.
    #[n(4)]
    pub reg_id: RegId,
    /// t: how many regions must evaluate. Always the number of commitments.
    #[n(5)]
    pub threshold: u8,
    /// n: how many shares were made.
    #[n(6)]
    pub slots: u8,
    /// The admission list that the client sealed its shares to.
    #[n(7)]
    pub admission: u64,
    /// The policy that the attempt policy and the KSF come from.
    #[n(8)]
    pub policy: u64,
    /// Frozen.
    #[n(9)]
    pub attempts: AttemptPolicy,
    /// RFC 9807 registration upload: client public key (32) ‖ masking key (64) ‖ envelope (96).
    #[cbor(n(10), with = "minicbor::bytes")]
    pub upload: Vec<u8>,
    /// Feldman commitments to the OPRF key's polynomial: t of them, the first is the public key of the whole.
    #[n(11)]
    pub commitments: Vec<Element>,
    /// The backup key under OPAQUE's export key.
    #[cbor(n(12), with = "minicbor::bytes")]
    pub ciphertext: Vec<u8>,
    /// The owner key, derived from the backup key: signs overwrites and deletion.
    #[n(13)]
    pub owner: PublicKey,
    /// How the client stretches.
    #[n(14)]
    pub ksf: KsfParams,
}

/// A record's bytes do not decode, or not to what they must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not CBOR of a record.
    #[error("record: {0}")]
    Decode(String),
    /// Decodes, but is not the one canonical encoding, so that H(record) would not be unique.
    #[error("record: not in canonical encoding")]
    NotCanonical,
}

impl Record {
    /// Bytes of the RFC 9807 upload in our suite.
    pub const UPLOAD_LEN: usize = 192;
    /// The most an encoded record may take; a parser refuses more.
    pub const MAX_LEN: usize = 4096;

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        cbor(self)
    }

    /// Only the canonical encoding is taken.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(RecordError::Decode(format!(
                "{} bytes, at most {} are allowed",
                bytes.len(),
                Self::MAX_LEN
            )));
        }
        let record: Self = minicbor::decode(bytes).map_err(|e| RecordError::Decode(e.to_string()))?;
        if record.encode() == bytes { Ok(record) } else { Err(RecordError::NotCanonical) }
    }

    /// H(record) = SHA-256("bkv/record/1" ‖ canonical encoding), lengths prefixed.
    pub fn hash(&self) -> Hash {
        tagged("bkv/record/1", &[&self.encode()])
    }

    /// The client's public key: the upload begins with it. Its signature in KE3 is the only thing that refills the counter.
    pub fn client_public_key(&self) -> Option<PublicKey> {
        self.upload.first_chunk().copied().map(PublicKey)
    }
}

/// One region's OPRF share, sealed by the client to that region's delivery key (HPKE, info = H(record) ‖ slot).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SealedShare {
    /// Whose.
    #[n(0)]
    pub slot: crate::id::Slot,
    /// HPKE's encapsulated key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub enc: Vec<u8>,
    /// The share under it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ct: Vec<u8>,
}

/// H(all sealed shares), in the order of their slots.
pub fn shares_hash(shares: &[SealedShare]) -> Hash {
    let parts: Vec<Vec<u8>> = shares.iter().map(cbor).collect();
    tagged("bkv/shares/1", &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
