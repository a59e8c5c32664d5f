//! Mandates: the signed votes by which a leader was elected. A leader shows its own to each follower, and a follower takes appends and snapshots under a vote only once it has
//! seen that vote's. A vault that starts has seen none, so it answers the first append with that. Nothing of this is on the disk: a leader that starts again needs a new
//! election anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bkv_core::document::Admission;
use bkv_core::id::NodeId;
use bkv_core::join::Ballot;
use bkv_wire::election::{self, NotElected};
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use parking_lot::Mutex;

/// One shard's mandates. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Mandates(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// As a candidate and as a leader: this vault's own vote, and who granted it.
    own: Ballot,
    granted: BTreeMap<NodeId, p::Voted>,
    /// Peers that have seen it.
    shown: BTreeSet<NodeId>,
    /// Number of the newest admission list under which it held.
    held_under: Option<u64>,
    /// It holds no longer. Only another election helps.
    ended: bool,
    /// As a follower: the vote whose mandate was seen last.
    seen: Option<Ballot>,
}

impl Inner {
    fn votes(&self, vote: Ballot) -> Vec<p::Voted> {
        if self.own == vote { self.granted.values().cloned().collect() } else { Vec::new() }
    }
}

impl Mandates {
    /// A peer has granted this vault's vote. Its signature has been checked: one that does not hold would leave the others without a leader that they can follow.
    pub(super) fn granted(&self, vote: Ballot, by: NodeId, voted: &p::Voted) {
        let mut inner = self.0.lock();
        if inner.own > vote {
            return;
        }
        if inner.own != vote {
            *inner = Inner { own: vote, seen: inner.seen, ..Inner::default() };
        }
        // The bytes of a message share its frame.
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let voted = p::Voted { certificate: copy(&voted.certificate), signature: copy(&voted.signature) };
        inner.granted.insert(by, voted);
    }

    /// What an append under this vote must show to a peer. Empty once the peer has seen it.
    pub(super) fn to_show(&self, vote: Ballot, peer: NodeId) -> Vec<p::Voted> {
        let inner = self.0.lock();
        if inner.shown.contains(&peer) { Vec::new() } else { inner.votes(vote) }
    }

    /// All of it.
    pub(super) fn votes(&self, vote: Ballot) -> Vec<p::Voted> {
        self.0.lock().votes(vote)
    }

    /// Whether a peer has seen it, by its answer to an append under this vote.
    pub(super) fn is_shown(&self, vote: Ballot, peer: NodeId, seen: bool) {
        let mut inner = self.0.lock();
        if inner.own == vote && seen {
            inner.shown.insert(peer);
        } else if inner.own == vote {
            inner.shown.remove(&peer);
        }
    }

    /// Whether the mandate of a leader holds under this list: a list that replaces a voter's identity may end it, and then a vault that starts could not follow. A mandate that
    /// has ended stays so.
    pub(crate) fn holds(&self, shard: u16, vote: Ballot, list: &Admission) -> bool {
        let mut inner = self.0.lock();
        if inner.own != vote || inner.ended {
            return !inner.ended;
        }
        if inner.held_under != Some(list.number) {
            inner.ended = election::verify(&inner.votes(vote), shard, vote, list).is_err();
            inner.held_under = Some(list.number);
        }
        !inner.ended
    }

    /// Whether this vault's own mandate has ended under this vote.
    pub(super) fn has_ended(&self, vote: Ballot) -> bool {
        let inner = self.0.lock();
        inner.own == vote && inner.ended
    }

    /// Checks what another vault shows with an append or a snapshot. What was seen before is not shown again.
    pub(crate) fn check(
        &self,
        shard: u16,
        vote: Ballot,
        votes: &[p::Voted],
        list: &Admission,
    ) -> Result<(), Unelected> {
        if self.0.lock().seen == Some(vote) {
            return Ok(());
        }
        if votes.is_empty() && list.members.len() > 1 {
            return Err(Unelected::NotShown);
        }
        election::verify(votes, shard, vote, list)?;
        self.0.lock().seen = Some(vote);
        Ok(())
    }
}

/// Why nothing is taken under a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unelected {
    /// An honest leader shows it when it is told so.
    #[error("this vault has not seen the votes by which the sender was elected")]
    NotShown,
    #[error("the sender was not elected: {0}")]
    Few(#[from] NotElected),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_list::list;

    const PEER: NodeId = NodeId(2);

    fn vote(term: u64) -> Ballot {
        Ballot { term, node: NodeId(1) }
    }

    /// A follower that has restarted has forgotten what it saw, and a later election begins anew.
    #[test]
    fn a_mandate_is_shown_until_it_was_seen() {
        let mandates = Mandates::default();
        let shows = |term| mandates.to_show(vote(term), PEER).len();
        assert_eq!(shows(5), 0, "no election");
        mandates.granted(vote(5), PEER, &p::Voted::default());
        mandates.granted(vote(5), NodeId(3), &p::Voted::default());
        assert_eq!((shows(5), shows(4)), (2, 0));
        mandates.is_shown(vote(5), PEER, true);
        assert_eq!((shows(5), mandates.votes(vote(5)).len()), (0, 2));
        assert_eq!(mandates.to_show(vote(5), NodeId(3)).len(), 2, "another peer");
        mandates.is_shown(vote(5), PEER, false);
        assert_eq!(shows(5), 2);
        mandates.is_shown(vote(5), PEER, true);
        mandates.granted(vote(6), PEER, &p::Voted::default());
        assert_eq!((shows(5), shows(6)), (0, 1));
        // The answer to an earlier candidacy comes late.
        mandates.granted(vote(5), NodeId(3), &p::Voted::default());
        mandates.is_shown(vote(5), PEER, true);
        assert_eq!(shows(6), 1);
    }

    /// S51: a list that replaces a voter ends a leader's term, also if no other vault can be elected: it stands again itself.
    #[test]
    fn s51_a_mandate_that_a_list_has_ended_stays_ended_until_the_next_election() {
        let mandates = Mandates::default();
        mandates.granted(vote(5), PEER, &p::Voted::default());
        assert!(mandates.holds(1, vote(5), &list(1)), "a fleet of one needs no other");
        let list = Admission { number: 2, ..list(3) };
        assert!(!mandates.holds(1, vote(5), &list));
        assert!(!mandates.holds(1, vote(5), &list), "looking again does not mend it");
        assert!(mandates.has_ended(vote(5)) && !mandates.has_ended(vote(6)));
        mandates.granted(vote(6), PEER, &p::Voted::default());
        assert!(!mandates.has_ended(vote(6)));
    }
}
