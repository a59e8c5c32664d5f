//! Later votes that peers name to a candidate. openraft ends the candidacy for each of them. A rooted peer could name one for every candidacy, and an honest voter's vote that comes
//! late then counts no more. So a candidate only notes the latest one, and stands above it the next time.

use std::collections::HashMap;
use std::sync::Arc;

use bkv_core::id::NodeId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::bounds::Bounds;
use super::few::Few;
use super::types::{Vote, unproven};

/// Near the highest possible term a peer's votes are noted so often in a minute. A voter whose clock is behind refuses such a term until its clock has reached it. A rooted peer could name the
/// highest term each time. An honest one may have given three votes a minute to each of two rooted vaults.
const NEAR_THE_HIGHEST: usize = 6;

/// The latest vote of which this vault has learned as a candidate. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Overtaken(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    latest: Option<Vote>,
    near_the_highest: HashMap<NodeId, Few<NEAR_THE_HIGHEST>>,
}

impl Overtaken {
    /// A peer has named its vote.
    pub(crate) fn note(&self, peer: NodeId, vote: Vote, bounds: Bounds, now: Instant) {
        let mut inner = self.0.lock();
        if bounds.vote(&vote).is_err() || inner.latest >= Some(unproven(vote)) {
            return;
        }
        if bounds.is_near_highest(&vote) && !inner.near_the_highest.entry(peer).or_default().take(now) {
            return;
        }
        inner.latest = Some(unproven(vote));
    }

    /// The vote above which this vault must stand. It is not committed, because no answer shows a mandate.
    pub(crate) fn latest(&self) -> Option<Vote> {
        self.0.lock().latest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PEER: NodeId = NodeId(2);
    const NOW_MS: u64 = 1_800_000_000_000;

    fn highest(now_ms: u64) -> u64 {
        let in_bounds = |term: &u64| Bounds::at(now_ms).term(*term).is_ok();
        (0..64).rev().fold(0, |term, bit| Some(term | 1 << bit).filter(in_bounds).unwrap_or(term))
    }

    /// S49: a peer that always names the highest term keeps no candidate out of the bounds of the others.
    #[test]
    fn s49_a_peer_that_names_the_highest_terms_is_soon_ignored() {
        let (overtaken, start) = (Overtaken::default(), Instant::now());
        let name = |second: u64| {
            let now_ms = NOW_MS + second * 1000;
            let (vote, at) = (Vote::new(highest(now_ms), PEER.0), start + Duration::from_secs(second));
            overtaken.note(PEER, vote, Bounds::at(now_ms), at);
            overtaken.latest() == Some(vote)
        };
        let noted: Vec<u64> = (0..70).filter(|second| name(*second)).collect();
        assert_eq!(noted, [0, 1, 2, 3, 4, 5, 60, 61, 62, 63, 64, 65]);
    }

    /// A term that every honest voter accepts, whatever its clock within a minute, is noted each time.
    #[test]
    fn ordinary_votes_are_noted_each_time() {
        let (overtaken, now, bounds) = (Overtaken::default(), Instant::now(), Bounds::at(NOW_MS));
        for term in 1..100 {
            overtaken.note(PEER, Vote::new_committed(term, PEER.0), bounds, now);
            assert_eq!(overtaken.latest(), Some(Vote::new(term, PEER.0)));
        }
        overtaken.note(PEER, Vote::new(7, PEER.0), bounds, now);
        overtaken.note(PEER, Vote::new(u64::MAX, PEER.0), bounds, now);
        assert_eq!(overtaken.latest(), Some(Vote::new(99, PEER.0)));
    }
}
