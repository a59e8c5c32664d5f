//! The fleet of a shard, and the position of a command in its log.

use minicbor::{Decode, Encode};

use crate::command::Raise;
use crate::document::{Admission, Documents};
use crate::id::{AccountId, Era, FleetId, Lineage, ShardId, Slot, Time};
use crate::secret::Secret32;
use crate::signature::RegionSignature;
use crate::statement;
use crate::verify::Verifier;

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
    /// The version of the state in force. See [`crate::version`].
    #[n(6)]
    pub version: u32,
}

impl Fleet {
    /// True if this raise puts the next version in force: every region of the list has signed that its program can apply it.
    pub fn is_raised_by(&self, raise: &Raise, at: Time, verifier: &dyn Verifier) -> bool {
        let admission = &self.documents.admission;
        let statement = |slot| statement::applies(&self.lineage, self.era, slot, raise.version);
        self.version.checked_add(1) == Some(raise.version)
            && signers(admission, &raise.signatures, at, verifier, statement) == admission.members.len()
    }

    /// True if the account lies in this shard. Otherwise a record that is copied into another shard would have a fresh budget there.
    pub fn holds(&self, account: &AccountId) -> bool {
        #[cfg(feature = "put-back")]
        if crate::put_back::is_off(crate::put_back::Rule::Shard) {
            return true;
        }
        account.bucket().is_some_and(|b| b.shard(self.documents.policy.shards) == ShardId(self.shard))
    }
}

/// How many regions of the list have signed, each its own `statement`. A signature that does not hold, or a second one of a slot, counts for nothing: otherwise one rooted
/// region could void those of the others, for example by a certificate that ends before the entry is applied. More signatures than members are not read, because each costs two
/// checks.
pub(crate) fn signers(
    admission: &Admission,
    signatures: &[RegionSignature],
    at: Time,
    verifier: &dyn Verifier,
    statement: impl Fn(Slot) -> Vec<u8>,
) -> usize {
    let mut slots: Vec<Slot> = Vec::new();
    if signatures.len() > admission.members.len() {
        return 0;
    }
    for s in signatures {
        if !slots.contains(&s.slot) && verifier.region_signature(admission, s, &statement(s.slot), at) {
            slots.push(s.slot);
        }
    }
    slots.len()
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
