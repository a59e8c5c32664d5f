//! How many appends of each vault a replica works on. The appends of a shard go to Raft one by one: without a limit one vault could put any number of them, each with its
//! entries in memory, before those of the leader.

use std::collections::BTreeMap;
use std::sync::Arc;

use bkv_core::id::NodeId;
use parking_lot::Mutex;

/// An honest leader has one append with entries on the way, and sends another after an answer that came too late.
const MOST: usize = 2;
/// Heartbeats and confirmations carry no entries, and an honest leader does not wait for an answer before it sends the next.
const MOST_EMPTY: usize = 16;

#[derive(Clone, Default)]
pub(crate) struct Arriving(Arc<Mutex<BTreeMap<(NodeId, bool), usize>>>);

/// One append. It makes room for the next when it is dropped.
pub(super) struct Arrived {
    all: Arriving,
    of: (NodeId, bool),
}

impl Arriving {
    /// None if there are too many of this sender.
    pub(super) fn enter(&self, from: NodeId, is_empty: bool) -> Option<Arrived> {
        let of = (from, is_empty);
        let mut all = self.0.lock();
        let count = all.entry(of).or_default();
        if *count >= if is_empty { MOST_EMPTY } else { MOST } {
            return None;
        }
        *count += 1;
        Some(Arrived { all: self.clone(), of })
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        if let Some(count) = all.get_mut(&self.of) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S49: the entries of one vault hold up those of another by two appends at most.
    #[test]
    fn s49_one_vault_has_two_appends_under_way_at_most() {
        let (all, from) = (Arriving::default(), NodeId(1));
        let (first, _second) = (all.enter(from, false), all.enter(from, false));
        assert!(first.is_some());
        assert!(all.enter(from, false).is_none());
        assert!(all.enter(NodeId(2), false).is_some());
        drop(first);
        assert!(all.enter(from, false).is_some());
        let heartbeats: Vec<_> = (0..=MOST_EMPTY).map_while(|_| all.enter(from, true)).collect();
        assert_eq!(heartbeats.len(), MOST_EMPTY);
    }
}
