//! The round trip to each peer, as its link measures it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_net::round_trip::RoundTrip;
use parking_lot::Mutex;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct RoundTrips(Arc<Mutex<BTreeMap<NodeId, RoundTrip>>>);

impl RoundTrips {
    /// A ping was answered.
    pub(super) fn measured(&self, node: NodeId, took: Duration) {
        let mut all = self.0.lock();
        all.entry(node).and_modify(|r| *r = r.and(took)).or_insert_with(|| RoundTrip::first(took));
    }

    /// None before the first answer. What was measured stays while a peer is away.
    pub(super) fn to(&self, node: NodeId) -> Option<RoundTrip> {
        self.0.lock().get(&node).copied()
    }
}
