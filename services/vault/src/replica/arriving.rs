//! How many appends of each vault a replica works on. The appends of a shard go to Raft one by one: without a limit one vault could put any number of them, each with its
//! entries in memory, before those of the leader.

use std::collections::BTreeMap;
use std::sync::Arc;

use bkv_core::id::NodeId;
use parking_lot::Mutex;

/// An honest leader has one append on the way, and sends another after an answer that came too late.
const MOST: usize = 2;

#[derive(Clone, Default)]
pub(crate) struct Arriving(Arc<Mutex<BTreeMap<NodeId, usize>>>);

/// One append. It makes room for the next when it is dropped.
pub(super) struct Arrived {
    all: Arriving,
    from: NodeId,
}

impl Arriving {
    /// None if there are too many of this sender.
    pub(super) fn enter(&self, from: NodeId) -> Option<Arrived> {
        let mut all = self.0.lock();
        let count = all.entry(from).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Arrived { all: self.clone(), from })
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        if let Some(count) = all.get_mut(&self.from) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S49: the appends of one vault hold up those of another by two at most.
    #[test]
    fn s49_one_vault_has_two_appends_under_way_at_most() {
        let (all, from) = (Arriving::default(), NodeId(1));
        let (first, _second) = (all.enter(from), all.enter(from));
        assert!(first.is_some());
        assert!(all.enter(from).is_none());
        assert!(all.enter(NodeId(2)).is_some());
        drop(first);
        assert!(all.enter(from).is_some());
    }
}
