//! The fleet of a shard, and the position of a command in its log.

use minicbor::{Decode, Encode};

use crate::document::Documents;
use crate::id::{Era, FleetId, Lineage, Time};
use crate::secret::Secret32;

/// The fleet to which a shard belongs.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Fleet {
    /// Set when the fleet is initialised.
    #[n(0)]
    pub fleet: FleetId,
    /// Set when the fleet is initialised.
    #[n(1)]
    pub lineage: Lineage,
    /// The era of this fleet.
    #[n(2)]
    pub era: Era,
    /// This shard's number.
    #[n(3)]
    pub shard: u16,
    /// The HMAC key of account ids.
    #[n(4)]
    pub index: Secret32,
    /// The documents in force.
    #[n(5)]
    pub documents: Documents,
}

/// The position of a command in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// Raft index of the entry.
    pub index: u64,
    /// The entry time, never lower than that of the entry before.
    pub time: Time,
}
