//! Votes that this vault grants while it hears no leader. A voter that has voted waits for the outcome, and an honest candidate in an earlier term does not get that vote. A rooted
//! peer could claim any log, ask in ever later terms, and so delay an election for as long as it goes on.

use std::collections::HashMap;
use std::time::Duration;

use bkv_core::id::NodeId;
use tokio::time::Instant;

use super::few::Few;
use super::types::Vote;

/// A peer gets this many votes a minute. An honest candidate needs one for each time that it is elected, and another one if the answers of its voters were lost. Each vote of a rooted
/// peer spoils one round of an election at most, which takes up to three seconds. In a fleet of five the three honest vaults need all of their votes, and two rooted ones can spoil 18
/// rounds, which are over within the minute.
const VOTES: usize = 3;

/// The votes that a replica has granted of late. In memory only: after a restart each peer may have as many again.
#[derive(Debug, Default)]
pub(crate) struct GrantedVotes {
    peers: HashMap<NodeId, Granted>,
    newest: Option<(NodeId, Instant)>,
}

#[derive(Debug, Default)]
struct Granted {
    newest: Option<Vote>,
    of_late: Few<VOTES>,
}

impl GrantedVotes {
    /// True if the peer may get a vote. `outcome` is how long the peer that got the newest one has to show that it leads. Until then a later vote of another peer would depose it.
    pub(crate) fn allow(&self, peer: NodeId, now: Instant, outcome: Duration) -> bool {
        let is_open = |at: Instant| now.saturating_duration_since(at) < outcome;
        let waits = self.newest.is_some_and(|(other, at)| other != peer && is_open(at));
        !waits && self.peers.get(&peer).is_none_or(|granted| granted.of_late.has(now))
    }

    /// A leader was heard long enough, the last time at `until`. The elections before that have ended, whoever spoilt some of their rounds.
    pub(crate) fn settled(&mut self, until: Instant) {
        self.peers.values_mut().for_each(|granted| granted.of_late.forget(until));
    }

    /// True if this is the newest vote that the peer has got.
    pub(crate) fn is_granted(&self, peer: NodeId, vote: &Vote) -> bool {
        self.peers.get(&peer).is_some_and(|granted| granted.newest == Some(*vote))
    }

    /// The peer has got a vote, which counts once.
    pub(crate) fn grant(&mut self, peer: NodeId, vote: Vote, now: Instant) {
        let granted = self.peers.entry(peer).or_default();
        if granted.newest == Some(vote) {
            return;
        }
        granted.newest = Some(vote);
        granted.of_late.count(now);
        self.newest = Some((peer, now));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: NodeId = NodeId(2);
    const OUTCOME: Duration = Duration::from_millis(200);

    /// S49: whenever a peer asks, no minute has more than three of its votes, and it is refused only in a minute that has three.
    fn few_in_each_minute(pauses: &[u64]) {
        let (mut votes, start) = (GrantedVotes::default(), Instant::now());
        let (mut now, mut term) = (0, 0);
        let mut granted: Vec<u64> = Vec::new();
        for pause in pauses {
            now += pause;
            term += 1;
            let at = start + Duration::from_millis(now);
            let of_late = granted.iter().filter(|at| now - **at < 60_000).count();
            assert_eq!(votes.allow(PEER, at, OUTCOME), of_late < 3, "{of_late} votes in the last minute");
            assert!(votes.allow(NodeId(3), at + OUTCOME, OUTCOME), "another peer");
            if votes.allow(PEER, at, OUTCOME) {
                votes.grant(PEER, Vote::new(term, PEER.0), at);
                granted.push(now);
            }
        }
    }

    proptest! {
        #[test]
        fn s49_a_peer_gets_three_votes_in_each_minute(pauses in proptest::collection::vec(0u64..40_000, 0..60)) {
            few_in_each_minute(&pauses);
        }
    }

    /// S49: the newest vote may be asked for again, and counts once. An earlier one is no longer granted.
    #[test]
    fn s49_a_vote_that_is_granted_again_counts_once() {
        let (mut votes, now) = (GrantedVotes::default(), Instant::now());
        for _ in 0..9 {
            votes.grant(PEER, Vote::new(7, PEER.0), now);
        }
        assert!(votes.allow(PEER, now, OUTCOME) && votes.is_granted(PEER, &Vote::new(7, PEER.0)));
        assert!(!votes.is_granted(NodeId(3), &Vote::new(7, PEER.0)));
        votes.grant(PEER, Vote::new(8, PEER.0), now);
        assert!(!votes.is_granted(PEER, &Vote::new(7, PEER.0)));
        votes.grant(PEER, Vote::new(9, PEER.0), now);
        assert!(!votes.allow(PEER, now, OUTCOME));
    }

    /// Leaders that are lost one after the other, each after some time of service, use up no votes.
    #[test]
    fn s49_votes_before_a_settled_leader_count_no_more() {
        let (mut votes, start) = (GrantedVotes::default(), Instant::now());
        for term in 1..=3 {
            votes.grant(PEER, Vote::new(term, PEER.0), start + OUTCOME);
        }
        let now = start + 2 * OUTCOME;
        votes.settled(start);
        assert!(!votes.allow(PEER, now, OUTCOME), "they are newer");
        votes.settled(start + OUTCOME);
        assert!(votes.allow(PEER, now, OUTCOME));
    }

    /// S49: between its election and its first append a leader would be deposed by the next vote.
    #[test]
    fn s49_a_peer_that_was_voted_for_has_time_to_lead() {
        let (mut votes, now) = (GrantedVotes::default(), Instant::now());
        votes.grant(PEER, Vote::new(7, PEER.0), now);
        assert!(!votes.allow(NodeId(3), now + OUTCOME / 2, OUTCOME));
        assert!(votes.allow(PEER, now + OUTCOME / 2, OUTCOME), "it has not heard the answer");
        votes.grant(PEER, Vote::new(7, PEER.0), now + OUTCOME / 2);
        assert!(votes.allow(NodeId(3), now + OUTCOME, OUTCOME), "asking again wins no time");
    }
}
