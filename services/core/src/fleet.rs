//! The fleet of a shard, and the position of a command in its log.

use minicbor::{Decode, Encode};

use crate::document::Documents;
use crate::id::{AccountId, Era, FleetId, Lineage, ShardId, Time};
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

impl Fleet {
    /// True if the account lies in this shard. Otherwise a record that is copied into another shard would have a fresh budget there.
    pub fn holds(&self, account: &AccountId) -> bool {
        #[cfg(feature = "put-back")]
        if crate::put_back::is_off(crate::put_back::Rule::Shard) {
            return true;
        }
        account.bucket().is_some_and(|b| b.shard(self.documents.policy.shards) == ShardId(self.shard))
    }
}

/// The position of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// The shard whose log this is. The replica knows it, whatever an entry claims.
    pub shard: u16,
    /// Raft index of the entry.
    pub index: u64,
    /// The entry time, never lower than that of the entry before.
    pub time: Time,
}
