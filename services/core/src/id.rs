//! Names of things: fixed-size, typed, parsed once at the edge. None of them is secret.

use std::fmt;

use minicbor::{Decode, Encode};

/// The bytes had another length than the type needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} needs {want} bytes, got {got}")]
pub struct WrongLength {
    /// The type that was asked for.
    pub name: &'static str,
    /// Its length in bytes.
    pub want: usize,
    /// The length that was given.
    pub got: usize,
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(with = "minicbor::bytes")] pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] { &self.0 }
        }
        impl TryFrom<&[u8]> for $name {
            type Error = WrongLength;
            fn try_from(b: &[u8]) -> Result<Self, WrongLength> {
                b.try_into().map(Self).map_err(|_| WrongLength { name: stringify!($name), want: $len, got: b.len() })
            }
        }
        impl AsRef<[u8]> for $name { fn as_ref(&self) -> &[u8] { &self.0 } }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.iter().try_for_each(|b| write!(f, "{b:02x}")) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self) }
        }
    };
}

bytes_id!(
    /// HMAC-SHA-256(index, "bkv/account/1" ‖ issuer ‖ subject ‖ enrolment): only vaults can compute it.
    AccountId, 32);
bytes_id!(
    /// SHA-256("bkv/route/1" ‖ issuer ‖ subject): public; its first 12 bits are the bucket.
    Route, 32);
bytes_id!(
    /// SHA-256("bkv/lineage/1" ‖ first root public keys ‖ fleet id): the same for every fleet that takes over.
    Lineage, 32);
bytes_id!(
    /// The client's name for one attempt: random.
    AttemptId, 16);
bytes_id!(
    /// The leader's name for one registration: random.
    RegId, 16);
bytes_id!(
    /// The client's name for one owner-signed operation: random; makes a retry harmless.
    OperationId, 16);
bytes_id!(
    /// A name for the fleet, random, made before anything else.
    FleetId, 16);
bytes_id!(
    /// A SHA-256 hash.
    Hash, 32);
bytes_id!(
    /// An Ed25519 public key.
    PublicKey, 32);
bytes_id!(
    /// An Ed25519 signature.
    Signature, 64);
bytes_id!(
    /// A canonical, non-identity ristretto255 element once it has been checked.
    Element, 32);

impl Route {
    /// Number of fixed buckets that routes fall into.
    pub const BUCKETS: u16 = 4096;

    /// The first 12 bits.
    pub fn bucket(&self) -> u16 {
        let [a, b, ..] = self.0;
        (u16::from(a) << 4) | (u16::from(b) >> 4)
    }

    /// The shard that holds this route's bucket, with a static number of shards.
    pub fn shard(&self, shards: u16) -> ShardId {
        ShardId(self.bucket() % shards.max(1))
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub $int);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    };
}

number_id!(
    /// Which registration of an account; only grows; a tombstone keeps it.
    Generation, u64);
number_id!(
    /// How many attempts have begun in this generation; only grows.
    Ordinal, u64);
number_id!(
    /// A region's place 1..=n on the admission list: its x-coordinate in the threshold OPRF. Never 0, which would be the key itself.
    Slot, u8);
number_id!(
    /// A voter's Raft id, from the admission list.
    NodeId, u64);
number_id!(
    /// A Raft group.
    ShardId, u16);
number_id!(
    /// Raised when a fleet takes over a lineage.
    Era, u32);

/// Milliseconds since the Unix epoch, as the leader wrote them into a log entry (or a document's signer into it). Never a local clock's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Time(#[n(0)] pub u64);

impl Time {
    /// Later by `ms` milliseconds; stays at the end of time instead of wrapping.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}
