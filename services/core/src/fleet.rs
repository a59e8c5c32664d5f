//! Which fleet a shard belongs to, and the place of a command in its log.

use minicbor::{Decode, Encode};

use crate::document::Documents;
use crate::id::{Era, FleetId, Lineage, Time};
use crate::secret::Secret32;

/// The fleet that a shard belongs to.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Fleet {
    /// Made at fleet init.
    #[n(0)]
    pub fleet: FleetId,
    /// Made at fleet init.
    #[n(1)]
    pub lineage: Lineage,
    /// Of this fleet.
    #[n(2)]
    pub era: Era,
    /// This shard's number.
    #[n(3)]
    pub shard: u16,
    /// The key of account ids.
    #[n(4)]
    pub index: Secret32,
    /// In force.
    #[n(5)]
    pub documents: Documents,
}

/// Where a command stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// Raft index of the entry.
    pub index: u64,
    /// Entry time, never lower than the one before.
    pub time: Time,
}
