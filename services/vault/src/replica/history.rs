//! Compares an append with this replica's own history, before Raft or the vote sees it.

use bkv_core::id::{Hash, NodeId};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::{CommittedLeaderId, ServerState};

use super::handle::Replica;
use crate::raft::types::{Entry, LogId, Raft, Vote};

/// Why an append is not passed to Raft.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unequal {
    /// Without the chain hash a fork could go unnoticed. An honest leader has it for everything that it sends.
    #[error("an append without the chain hash that it follows")]
    NoChain,
    #[error("node {0} has another history at {1}")]
    Contradiction(NodeId, LogId),
    /// The same, where nothing is committed here yet. This replica's own entry must give way.
    #[error("node {0} has sent two entries under the id {1}")]
    Unsettled(NodeId, LogId),
}

impl Replica {
    /// This replica's vote, if it is newer than the caller's. A former leader that hung or was cut off may still hold uncommitted entries where others have been applied
    /// here. That is no contradiction, and Raft refuses its outdated vote.
    pub(super) fn newer_vote(&self, vote: &Vote) -> Option<Vote> {
        self.state.log.vote().filter(|v| v.leader_id > vote.leader_id)
    }

    /// The last index that is settled here. What Raft calls committed will be applied, even if it is not yet. None: nothing is settled, not even the first entry.
    pub(super) async fn settled(&self, raft: &Raft) -> Result<Option<u64>, String> {
        let committed = raft.with_raft_state(|state| state.committed).await.map_err(|e| e.to_string())?;
        Ok(committed.max(self.state.applied_id()).map(|id| id.index))
    }

    /// Compares what an append follows and carries with what this replica has. What has left the log can't be compared any more.
    pub(super) fn compare(
        &self,
        from: NodeId,
        vote: &Vote,
        settled: Option<u64>,
        previous: Option<&LogId>,
        chain: &[u8],
        entries: &[Entry],
    ) -> Result<(), Unequal> {
        let log = &self.state.log;
        let is_settled = |index| settled.is_some_and(|settled| index <= settled);
        let mut contradiction = None;
        let mut behind = Hash([0; 32]);
        if let Some(id) = previous {
            behind = Hash::try_from(chain).map_err(|_| Unequal::NoChain)?;
            let forked = matches!(log.chain_at(id), Ok(Some(ours)) if ours != behind);
            let replaced =
                is_settled(id.index) && log.id_at(id.index).ok().flatten().is_some_and(|ours| ours != *id);
            contradiction = (forked || replaced).then_some(*id);
        }
        let contradiction = contradiction.or_else(|| log.rewritten(behind, entries, settled));
        // Look at the vote after the comparison, because a newer leader's append may arrive in between.
        match contradiction.filter(|_| self.newer_vote(vote).is_none()) {
            Some(id) if !is_settled(id.index) => Err(Unequal::Unsettled(from, id)),
            Some(id) => Err(Unequal::Contradiction(from, id)),
            None => Ok(()),
        }
    }
}

/// Removes the entries from `at` on, which are not committed here, because the leader has another entry under the same id. A former leader that lied may have sent each
/// of two honest vaults its own entry under one id. Raft compares ids only: the two vaults would refuse each other's entries for ever. Raft removes entries for a leader
/// that names another id for the entry before its own, so it gets an append without entries that follows an entry of this leader. Raft answers it with a conflict. The
/// entries before `at` stay: they are the leader's too, and this vault may have signed that it has them.
pub(super) async fn give_way(
    raft: &Raft,
    vote: &Vote,
    at: u64,
) -> Result<AppendEntriesResponse<u64>, String> {
    let leader = CommittedLeaderId::new(vote.leader_id.term, vote.leader_id.node_id);
    let other = Some(LogId::new(leader, at));
    let rpc =
        AppendEntriesRequest { vote: *vote, prev_log_id: other, entries: Vec::new(), leader_commit: None };
    raft.append_entries(rpc).await.map_err(|e| e.to_string())
}

/// Lets Raft follow this vote, if it leads or asks for votes itself. Otherwise it could commit an entry of its own between the comparison of an append and the append.
pub(super) async fn follow(
    r: &Replica,
    raft: &Raft,
    vote: &Vote,
) -> Result<AppendEntriesResponse<u64>, String> {
    let ours = |state: ServerState| matches!(state, ServerState::Leader | ServerState::Candidate);
    if !ours(raft.with_raft_state(|state| state.server_state).await.map_err(|e| e.to_string())?) {
        return Ok(AppendEntriesResponse::Success);
    }
    let rpc = AppendEntriesRequest {
        vote: *vote,
        prev_log_id: r.state.applied_id(),
        entries: Vec::new(),
        leader_commit: None,
    };
    raft.append_entries(rpc).await.map_err(|e| e.to_string())
}
