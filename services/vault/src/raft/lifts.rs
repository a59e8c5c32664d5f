//! The root's lifts that peers show. A vault whose quarantine the root has lifted may lack entries that it has acknowledged to the leader of this term. openraft takes a denial for its own
//! bug, so such an answer never reaches it. A leader without knowledge of what its followers have is one that was just elected, so this leader lets an election be held.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_wire::verifier::WireVerifier;
use parking_lot::Mutex;
use tokio::time::Instant;

/// For this long a leader begins anew for a peer no second time: a rooted vault whose stop was lifted once could otherwise end every leader by showing the lift again.
const PAUSE: Duration = Duration::from_mins(16);

/// When a replica has begun anew for each peer, and which term that ends. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Lifts(Arc<Mutex<HashMap<NodeId, (Instant, u64)>>>);

impl Lifts {
    /// True if the root has lifted a stop of this shard at this peer. A lift does not say which disk it was for, so one that was shown proves nothing about the next denial.
    pub(super) fn holds(verifier: &WireVerifier, shard: u16, peer: NodeId, signed: &[u8]) -> bool {
        !signed.is_empty() && verifier.lift(signed).is_ok_and(|lift| (lift.shard, lift.node) == (shard, peer))
    }

    /// True if this vault may end this term for this peer now. It counts from the first time on. The same term may be ended again: openraft drops an answer to the confirmation of a read
    /// once a majority has confirmed it, and most heartbeats are such confirmations.
    pub(super) fn may_begin_anew(&self, peer: NodeId, term: u64, now: Instant) -> bool {
        let mut begun = self.0.lock();
        match begun.get(&peer) {
            Some((_, ended)) if *ended == term => true,
            Some((at, _)) if now.saturating_duration_since(*at) < PAUSE => false,
            _ => {
                begun.insert(peer, (now, term));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bkv_core::id::{Era, FleetId};
    use bkv_wire::documents::{Lift, Root, RootKey, sign_lift};
    use zeroize::Zeroizing;

    use super::*;

    const PEER: NodeId = NodeId(2);

    /// S49: a rooted follower that shows its lift with each answer ends few terms.
    #[test]
    fn s49_a_lift_that_is_shown_again_and_again_ends_few_terms() {
        let (lifts, start) = (Lifts::default(), Instant::now());
        // Each second is a term of its own.
        let begun = |second| lifts.may_begin_anew(PEER, second, start + Duration::from_secs(second));
        assert_eq!((0..3600).filter(|second| begun(*second)).count(), 4);
        assert!(lifts.may_begin_anew(NodeId(3), 0, start), "another peer");
    }

    /// S24: the leader goes on until openraft takes the answer.
    #[test]
    fn s24_one_term_may_be_ended_again_and_again() {
        let (lifts, start) = (Lifts::default(), Instant::now());
        assert!((0..9).all(|second| lifts.may_begin_anew(PEER, 7, start + Duration::from_secs(second))));
        assert!(!lifts.may_begin_anew(PEER, 8, start + Duration::from_secs(9)));
    }

    /// S49: only the root lifts, and a lift is for one vault and one shard.
    #[test]
    fn s49_a_lift_of_another_vault_or_root_counts_for_nothing() {
        let key = |seed| RootKey::from_seed(&Zeroizing::new([seed; 32]));
        let (ours, other) = (key(1), key(2));
        let root = Root {
            keys: vec![ours.public()],
            threshold: 1,
            fleet: FleetId([1; 16]),
            era: Era(1),
            development: true,
        };
        let lift = Lift { lineage: root.lineage(), era: root.era, node: PEER, shard: 3, stop: [5; 16] };
        let verifier = WireVerifier::new(root);
        let holds = |signed: &[u8]| Lifts::holds(&verifier, 3, PEER, signed);
        let sign = |lift: &Lift, key: &RootKey| sign_lift(lift, None, key).unwrap();
        assert!(holds(&sign(&lift, &ours)));
        assert!(!holds(&sign(&lift, &other)), "another root");
        assert!(!holds(&sign(&Lift { node: NodeId(3), ..lift }, &ours)), "another vault");
        assert!(!holds(&sign(&Lift { shard: 4, ..lift }, &ours)), "another shard");
        assert!(!holds(&[]) && !holds(&[1; 40]), "no document");
    }
}
