//! How often an answer of a peer may end this vault's leadership while a majority hears it. openraft obeys every later vote in an answer, without a lease. An honest peer has a
//! later vote after an election that this vault has missed. A rooted one could answer every append with one. A leader without a majority obeys at once: it may need that peer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::NodeId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::types::Vote;

/// Time from one obeyed vote of a peer to the next one. Each costs the shard an election. Meanwhile an honest peer that has voted for a rooted vault is without a leader, if
/// the rooted vault answers this one so that it hears a majority.
const PAUSE: Duration = Duration::from_mins(1);

/// The peers' later votes that a replica has obeyed last. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct LaterVotes(Arc<Mutex<HashMap<NodeId, (Vote, Instant)>>>);

impl LaterVotes {
    /// True if this vault may obey a later vote in an answer of a peer, which counts from now on. An obeyed vote counts once: it also comes with the answers to what was under way.
    pub(super) fn may_obey(&self, peer: NodeId, vote: Vote, now: Instant) -> bool {
        let mut obeyed = self.0.lock();
        match obeyed.get(&peer) {
            Some((known, _)) if *known == vote => return true,
            Some((_, at)) if now.saturating_duration_since(*at) < PAUSE => return false,
            _ => {}
        }
        obeyed.insert(peer, (vote, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    /// S49: a follower that always answers with a later vote ends few terms of a leader.
    #[test]
    fn s49_later_votes_of_a_peer_are_obeyed_once_a_minute() {
        let (votes, start) = (LaterVotes::default(), Instant::now());
        let obeys =
            |second| votes.may_obey(PEER, Vote::new(100 + second, 2), start + Duration::from_secs(second));
        let obeyed: Vec<u64> = (0..300).filter(|second| obeys(*second)).collect();
        assert_eq!(obeyed, [0, 60, 120, 180, 240]);
        assert!(votes.may_obey(NodeId(3), Vote::new(9001, 3), start), "another peer");
    }

    /// The answers to appends that were under way repeat the vote.
    #[test]
    fn a_vote_that_was_obeyed_counts_once() {
        let (votes, now) = (LaterVotes::default(), Instant::now());
        for _ in 0..20 {
            assert!(votes.may_obey(PEER, Vote::new(7, 2), now));
        }
        assert!(!votes.may_obey(PEER, Vote::new(8, 2), now));
    }
}
