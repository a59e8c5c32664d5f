//! Identifiers and numbers: of fixed size, typed, parsed once at the edge. None of them is secret.

use std::fmt;

use minicbor::{Decode, Encode};

/// The bytes have the wrong length for the type.
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
    /// The bucket of the route (2 bytes, big-endian, below 4,096), then the first 30 bytes of
    /// HMAC-SHA-256(index, "bkv/account/2" ‖ issuer ‖ subject ‖ enrolment). Only vaults have the index key, so only vaults can compute it.
    AccountId, 32);
bytes_id!(
    /// SHA-256("bkv/route/1" ‖ issuer ‖ subject). It is public. Its first 12 bits are the bucket.
    Route, 32);
bytes_id!(
    /// SHA-256("bkv/lineage/1" ‖ first root public keys ‖ fleet id). A fleet that takes over keeps it.
    Lineage, 32);
bytes_id!(
    /// Identifies one attempt. The client draws it at random.
    AttemptId, 16);
bytes_id!(
    /// Identifies one registration. The leader draws it at random.
    RegId, 16);
bytes_id!(
    /// Identifies one owner-signed operation, so that a repetition has no effect. The client draws it at random.
    OperationId, 16);
bytes_id!(
    /// Identifies one device at one destination. The device draws it at random.
    WriterId, 16);
bytes_id!(
    /// Identifies the fleet. It is random and drawn before the root is made.
    FleetId, 16);
bytes_id!(
    /// Shows whether a password is the record's: HKDF of the stretched password, account and generation.
    Right, 32);
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
    /// The encoding of a ristretto255 element. `Verifier::element` checks that it is canonical and not the identity.
    Element, 32);

/// A fixed part of all routes and accounts. A shard holds whole buckets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bucket(u16);

impl Bucket {
    /// The number of buckets. It never changes.
    pub const COUNT: u16 = 4096;

    /// None if there is no bucket of this number.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// The shard that holds this bucket, of a static number of shards.
    pub fn shard(self, shards: u16) -> ShardId {
        ShardId(self.0 % shards.max(1))
    }
}

impl WriterId {
    /// Stands for the backups that are one file each. They have a sequence in place of a ledger, and no V.
    pub const FILES: Self = Self([0; Self::LEN]);
}

impl Route {
    /// The first 12 bits.
    pub fn bucket(&self) -> Bucket {
        let [a, b, ..] = self.0;
        Bucket((u16::from(a) << 4) | (u16::from(b) >> 4))
    }

    /// The shard that holds this route's bucket, of a static number of shards.
    pub fn shard(&self, shards: u16) -> ShardId {
        self.bucket().shard(shards)
    }
}

impl AccountId {
    /// The account of `bucket` that `mac` names.
    pub fn new(bucket: Bucket, mac: &[u8; 32]) -> Self {
        let mut id = [0; Self::LEN];
        let (front, rest) = id.split_at_mut(2);
        front.copy_from_slice(&bucket.0.to_be_bytes());
        rest.iter_mut().zip(mac).for_each(|(to, from)| *to = *from);
        Self(id)
    }

    /// The bucket that the account lies in. None if the first two bytes are no bucket's number: then it lies nowhere.
    pub fn bucket(&self) -> Option<Bucket> {
        let [a, b, ..] = self.0;
        Bucket::new(u16::from_be_bytes([a, b]))
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
    /// The number of an account's live record, or of the last one after its end. It never decreases.
    Generation, u64);
number_id!(
    /// The number of an attempt within its generation. It never decreases within a generation.
    Ordinal, u64);
number_id!(
    /// The number of a member on the admission list, 1 to n. It is the x-coordinate of the member's share, so it is never 0: the value at 0 is the
    /// OPRF key.
    Slot, u8);
number_id!(
    /// The Raft node id of a vault, from the admission list.
    NodeId, u64);
number_id!(
    /// The number of a shard.
    ShardId, u16);
number_id!(
    /// Rises when a new fleet takes over a lineage.
    Era, u32);

/// Milliseconds since the Unix epoch, from a log entry or a signed document. A replica never takes it from its own clock when it applies an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Time(#[n(0)] pub u64);

impl Time {
    /// Later by `ms` milliseconds. Saturates instead of wrapping.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}
