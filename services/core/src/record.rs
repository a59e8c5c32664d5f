//! The record of a registration: its public part, which H(record) covers. The edge stores z and the own share beside it, masked.

use minicbor::{Decode, Encode};

use crate::encoding::cbor;
use crate::hash::tagged;
use crate::id::{AccountId, Element, Era, Generation, Hash, Lineage, PublicKey, RegId, Right};

/// Argon2id's parameters (RFC 9106). Zeros turn stretching off. Clients accept that only with the feature `bench-identity-ksf`.
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

/// The attempt policy. Each record keeps a copy from its registration, so a later policy can't give an attacker more guesses.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AttemptPolicy {
    /// The number of attempts between two proved successes. The attempt that leaves none is the last try.
    #[n(0)]
    pub max: u32,
    /// The number of lifetime failures at which the account is locked. Locking destroys nothing.
    #[n(1)]
    pub lifetime_failures: u32,
    /// After failure i+1 the next attempt must wait `waits_ms[i]` milliseconds. The last element counts for all further failures.
    #[n(2)]
    pub waits_ms: Vec<u64>,
    /// How long the last try may stay open before it fails, in milliseconds.
    #[n(3)]
    pub last_try_ms: u64,
    /// How long any other attempt may stay open before it fails, in milliseconds.
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

/// The record. Its encoding is deterministic CBOR (RFC 8949 §4.2): an array in the order of the field numbers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Record {
    /// The lineage of the fleet.
    #[n(0)]
    pub lineage: Lineage,
    /// Identifies the fleet within the lineage.
    #[n(1)]
    pub era: Era,
    /// The account.
    #[n(2)]
    pub account: AccountId,
    /// The account's generation once this record is confirmed: the base generation plus one.
    #[n(3)]
    pub generation: Generation,
    /// Identifies the registration.
    #[n(4)]
    pub reg_id: RegId,
    /// t, the number of regions that must evaluate. It equals the number of commitments.
    #[n(5)]
    pub threshold: u8,
    /// n, the number of shares.
    #[n(6)]
    pub slots: u8,
    /// The number of the admission list whose delivery keys the shares are sealed to.
    #[n(7)]
    pub admission: u64,
    /// The number of the policy from which `attempts` was copied and whose bounds `ksf` met.
    #[n(8)]
    pub policy: u64,
    /// The attempt policy of this record.
    #[n(9)]
    pub attempts: AttemptPolicy,
    /// The RFC 9807 registration upload: client public key (32) ‖ masking key (64) ‖ envelope (96).
    #[cbor(n(10), with = "minicbor::bytes")]
    pub upload: Vec<u8>,
    /// The t Feldman commitments to the polynomial of the OPRF key. The first one is the public key of the OPRF key.
    #[n(11)]
    pub commitments: Vec<Element>,
    /// The backup key, encrypted under OPAQUE's export key.
    #[cbor(n(12), with = "minicbor::bytes")]
    pub ciphertext: Vec<u8>,
    /// The public half of the owner key. The client derives the owner key from the backup key.
    #[n(13)]
    pub owner: PublicKey,
    /// The client's stretching parameters.
    #[n(14)]
    pub ksf: KsfParams,
    /// The server's AKE public key, which follows from z. A region answers KE1 only with the z that gives this key. With another z the right password
    /// would look wrong, and the user would spend the tries.
    #[n(15)]
    pub server: PublicKey,
    /// HKDF of the stretched password. The regions sign it with each attempt, so no leader alone can make a right password look wrong.
    #[n(16)]
    pub right: Right,
}

/// The bytes are not the canonical encoding of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not the CBOR of a record, or are too long.
    #[error("record: {0}")]
    Decode(String),
    /// The bytes decode, but are not the canonical encoding. H(record) would not be unique.
    #[error("record: not in canonical encoding")]
    NotCanonical,
}

impl Record {
    /// Bytes of the RFC 9807 upload in our suite.
    pub const UPLOAD_LEN: usize = 192;
    /// The most bytes that an encoded record may have.
    pub const MAX_LEN: usize = 4096;

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        cbor(self)
    }

    /// Decodes the canonical encoding and refuses any other.
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

    /// The server's public key in an RFC 9807 registration response: evaluated element (32) ‖ server public key (32).
    pub fn server_key(response: &[u8]) -> Option<PublicKey> {
        let (_, key) = response.split_at_checked(32)?;
        PublicKey::try_from(key).ok()
    }

    /// The client's public key, with which the upload begins. Only a signature in KE3 under this key gives tries back.
    pub fn client_public_key(&self) -> Option<PublicKey> {
        self.upload.first_chunk().copied().map(PublicKey)
    }
}

/// One region's OPRF share. The client sealed it to the region's delivery key (HPKE, info = [`crate::statement::share_info`]).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SealedShare {
    /// The slot of the region.
    #[n(0)]
    pub slot: crate::id::Slot,
    /// HPKE's encapsulated key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub enc: Vec<u8>,
    /// The encrypted share.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ct: Vec<u8>,
}

impl SealedShare {
    /// H(sealed share).
    pub fn hash(&self) -> Hash {
        tagged("bkv/share-hash/1", &[&cbor(self)])
    }
}

/// H(sealed share) of each, in the order of their slots.
pub fn share_hashes(shares: &[SealedShare]) -> Vec<Hash> {
    shares.iter().map(SealedShare::hash).collect()
}

/// H(shares) from the hash of each. Every vault keeps these hashes, so it can check a single share that another vault sends.
pub fn shares_hash_of(hashes: &[Hash]) -> Hash {
    tagged("bkv/shares/2", &hashes.iter().map(|h| h.0.as_slice()).collect::<Vec<_>>())
}

/// H(shares): of all sealed shares, in the order of their slots.
pub fn shares_hash(shares: &[SealedShare]) -> Hash {
    shares_hash_of(&share_hashes(shares))
}
