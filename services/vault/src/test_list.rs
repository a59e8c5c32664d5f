//! An admission list for tests that need no keys.

use bkv_core::document::{Admission, Member};
use bkv_core::id::{Era, Hash, Lineage, NodeId, Slot, Time};

/// A list of vaults whose slot, node and identity are their number from 1 on.
pub(crate) fn list(vaults: u8) -> Admission {
    let member = |slot| Member {
        region: String::new(),
        slot: Slot(slot),
        node: NodeId(slot.into()),
        identity: vec![slot],
        delivery: Vec::new(),
    };
    Admission {
        lineage: Lineage([1; 32]),
        era: Era(1),
        number: 1,
        not_before: Time(0),
        not_after: Time(1 << 50),
        threshold: vaults / 2 + 1,
        members: (1..=vaults).map(member).collect(),
        hash: Hash([0; 32]),
    }
}
