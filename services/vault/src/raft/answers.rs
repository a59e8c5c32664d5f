//! Checks a follower's answer to an append before openraft sees it. openraft 0.9.25 panics on an answer that a follower with its whole log never gives, because it takes that
//! answer for its own bug. So one rooted follower could end the process of every leader.

use std::collections::HashMap;
use std::sync::Arc;

use bkv_core::id::NodeId;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use parking_lot::Mutex;

use super::types::{LogId, TypeConfig, Vote, log_id_in};

/// Why an answer does not reach openraft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untrue {
    /// The peer lies, or it has lost a part of its log. It gets entries again after the next election, because a new leader begins without knowing what it has.
    #[error("it denies entries that it has acknowledged, or the beginning of the log")]
    Conflict,
    #[error("it acknowledges an entry that it was not sent")]
    Partial,
    #[error("it refuses a vote for one that is not higher")]
    Vote,
    #[error("it denies entries that it has acknowledged, since the root has lifted its stop")]
    Lifted,
    #[error("it grants a vote without its signature")]
    Unsigned,
    #[error("it denies the votes that it was shown")]
    Unelected,
    #[error("it answers with a vote for this vault in a term in which this vault has not asked")]
    OwnVote,
    #[error("it answers with later votes more often than there are elections, and counts as unreachable")]
    LaterVotes,
}

/// How far each peer has acknowledged this vault's log, and under which vote of this vault. The two connections to a peer share it, because one of them sends snapshots only.
#[derive(Clone, Default)]
pub(crate) struct Matched(Arc<Mutex<HashMap<NodeId, (Vote, u64)>>>);

impl Matched {
    fn under(&self, vote: &Vote, peer: NodeId) -> Option<u64> {
        self.0.lock().get(&peer).filter(|(known, _)| known == vote).map(|(_, index)| *index)
    }

    /// The peer has acknowledged everything up to this entry.
    pub(super) fn saw(&self, vote: &Vote, peer: NodeId, id: Option<LogId>) {
        let Some(id) = id else { return };
        let index = self.under(vote, peer).map_or(id.index, |known| known.max(id.index));
        self.0.lock().insert(peer, (*vote, index));
    }

    /// The answer, as openraft may see it. `reached` is the last entry of the append that was answered, which may have carried less than `asked` does.
    pub(super) fn judge(
        &self,
        peer: NodeId,
        asked: &AppendEntriesRequest<TypeConfig>,
        reached: Option<LogId>,
        result: &R,
        vote: impl FnOnce(p::Vote) -> Option<Vote>,
    ) -> Result<AppendEntriesResponse<u64>, Untrue> {
        let last = asked.entries.last().map(|e| e.log_id).or(asked.prev_log_id);
        match result {
            R::Success(_) => {
                self.saw(&asked.vote, peer, reached);
                // What was sent earlier may end before what is asked for now.
                let all = reached == last;
                Ok(if all {
                    AppendEntriesResponse::Success
                } else {
                    AppendEntriesResponse::PartialSuccess(reached)
                })
            }
            R::Partial(id) => {
                let id = log_id_in(id);
                let sent = |id: &LogId| reached.is_some_and(|r| id.index <= r.index);
                let id = asked.entries.iter().map(|e| e.log_id).find(|e| *e == id).filter(sent);
                let id = id.ok_or(Untrue::Partial)?;
                self.saw(&asked.vote, peer, Some(id));
                Ok(AppendEntriesResponse::PartialSuccess(Some(id)))
            }
            R::Conflict(_) => {
                let known = self.under(&asked.vote, peer);
                // Without entries it is a heartbeat, and that follows what the peer has acknowledged.
                let unknown = asked.prev_log_id.filter(|p| known.is_none_or(|known| p.index > known));
                match unknown {
                    Some(_) if !asked.entries.is_empty() => Ok(AppendEntriesResponse::Conflict),
                    _ => Err(Untrue::Conflict),
                }
            }
            R::Unelected(_) => Err(Untrue::Unelected),
            R::HigherVote(v) => match vote(*v) {
                Some(vote) if vote > asked.vote => Ok(AppendEntriesResponse::HigherVote(vote)),
                _ => Err(Untrue::Vote),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;
    use crate::raft::types::{Entry, log_id_out, vote_in, vote_out};

    const PEER: NodeId = NodeId(2);

    fn id(index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(3, 1), index)
    }

    fn append(previous: Option<u64>, to: u64) -> AppendEntriesRequest<TypeConfig> {
        let first = previous.map_or(0, |p| p + 1);
        let entry = |i| Entry { log_id: id(i), payload: EntryPayload::Blank };
        AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: previous.map(id),
            entries: (first..=to).map(entry).collect(),
            leader_commit: None,
        }
    }

    fn judge(
        matched: &Matched,
        asked: &AppendEntriesRequest<TypeConfig>,
        result: &R,
    ) -> Result<AppendEntriesResponse<u64>, Untrue> {
        let reached = asked.entries.last().map(|e| e.log_id).or(asked.prev_log_id);
        matched.judge(PEER, asked, reached, result, |v| vote_in(Some(v)).ok())
    }

    /// S49: what openraft would take for an error of its own.
    #[test]
    fn s49_no_untrue_answer_reaches_raft() {
        let (matched, denied) = (Matched::default(), R::Conflict(true));
        assert_eq!(judge(&matched, &append(Some(9), 12), &denied), Ok(AppendEntriesResponse::Conflict));
        assert_eq!(
            judge(&matched, &append(None, 2), &denied),
            Err(Untrue::Conflict),
            "every log begins alike"
        );
        assert_eq!(judge(&matched, &append(Some(9), 9), &denied), Err(Untrue::Conflict), "a heartbeat");
        assert_eq!(
            judge(&matched, &append(Some(4), 8), &R::Success(true)),
            Ok(AppendEntriesResponse::Success)
        );
        assert_eq!(judge(&matched, &append(Some(8), 9), &denied), Err(Untrue::Conflict), "acknowledged");
        assert_eq!(judge(&matched, &append(Some(9), 10), &denied), Ok(AppendEntriesResponse::Conflict));
        for index in [8, 11, u64::MAX] {
            let partial = R::Partial(log_id_out(&id(index)));
            assert_eq!(judge(&matched, &append(Some(8), 10), &partial), Err(Untrue::Partial), "{index}");
        }
        let partial = R::Partial(log_id_out(&id(9)));
        let within = Ok(AppendEntriesResponse::PartialSuccess(Some(id(9))));
        assert_eq!(judge(&matched, &append(Some(8), 10), &partial), within);
        for lower in [Vote::new_committed(3, 1), Vote::new(3, 1), Vote::new_committed(2, 9)] {
            let higher = R::HigherVote(vote_out(&lower));
            assert_eq!(judge(&matched, &append(Some(9), 9), &higher), Err(Untrue::Vote), "{lower}");
        }
        let higher = R::HigherVote(vote_out(&Vote::new(4, 2)));
        assert!(judge(&matched, &append(Some(9), 9), &higher).is_ok());
    }

    /// A vault that lost a part of its log gets it again from the next leader.
    #[test]
    fn a_new_vote_forgets_what_was_acknowledged() {
        let matched = Matched::default();
        matched.saw(&Vote::new_committed(3, 1), PEER, Some(id(20)));
        let asked = AppendEntriesRequest { vote: Vote::new_committed(4, 1), ..append(Some(9), 12) };
        assert_eq!(judge(&matched, &asked, &R::Conflict(true)), Ok(AppendEntriesResponse::Conflict));
    }
}
