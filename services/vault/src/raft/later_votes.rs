//! How often an answer of a peer may end this vault's leadership while a majority hears it. openraft obeys every later vote in an answer, without a lease. An honest peer has a
//! later vote after an election that this vault has missed. A rooted one could answer every append with one. A leader without a majority obeys at once: it may need that peer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::NodeId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::types::Vote;

/// Time after the first later vote of a peer until the next one is obeyed. It doubles with each, because each costs the shard an election.
const PAUSE: Duration = Duration::from_mins(1);
/// How often it doubles. An honest peer whose vote is not obeyed is without a leader for 16 minutes at most, and only while a majority of others has one.
const DOUBLED: u32 = 4;
/// After this time without any, a peer begins anew.
const FORGET: Duration = Duration::from_hours(1);

#[derive(Clone, Copy)]
struct Obeyed {
    vote: Vote,
    at: Instant,
    times: u32,
}

impl Obeyed {
    fn pause(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.times.saturating_sub(1).min(DOUBLED))
    }
}

/// The peers' later votes that a replica has obeyed. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct LaterVotes(Arc<Mutex<HashMap<NodeId, Obeyed>>>);

impl LaterVotes {
    /// True if this vault may obey a later vote in an answer of a peer, which counts from now on. An obeyed vote counts once: it also comes with the answers to what was under way.
    pub(super) fn may_obey(&self, peer: NodeId, vote: Vote, now: Instant) -> bool {
        let mut obeyed = self.0.lock();
        let known = obeyed.get(&peer).filter(|o| now.saturating_duration_since(o.at) < FORGET);
        if known.is_some_and(|o| vote == o.vote) {
            return true;
        }
        if known.is_some_and(|o| now.saturating_duration_since(o.at) < o.pause()) {
            return false;
        }
        let times = known.map_or(1, |o| o.times.saturating_add(1));
        obeyed.insert(peer, Obeyed { vote, at: now, times });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    /// S49: a follower that always answers with a later vote ends few terms of a leader. After an hour it begins anew.
    #[test]
    fn s49_later_votes_of_a_peer_are_obeyed_ever_more_rarely() {
        let (votes, start) = (LaterVotes::default(), Instant::now());
        let mut obeyed = Vec::new();
        for second in 0..7200 {
            let now = start + Duration::from_secs(second);
            if votes.may_obey(PEER, Vote::new(100 + second, 2), now) {
                obeyed.push(second / 60);
            }
        }
        assert_eq!(obeyed, [0, 1, 3, 7, 15, 31, 47, 63, 79, 95, 111]);
        let much_later = start + Duration::from_secs(7200) + FORGET;
        assert!(votes.may_obey(PEER, Vote::new(9000, 2), much_later));
        assert!(!votes.may_obey(PEER, Vote::new(9001, 2), much_later));
        assert!(votes.may_obey(NodeId(3), Vote::new(9001, 3), much_later), "another peer");
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
