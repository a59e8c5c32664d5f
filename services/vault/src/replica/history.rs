//! Compares an append with this replica's own history, before Raft or the vote sees it.

use bkv_core::id::{Hash, NodeId};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::{CommittedLeaderId, EntryPayload};

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
    /// True if this replica has voted for a newer term. A former leader that hung or was cut off may still hold uncommitted entries where others have been applied
    /// here. That is no contradiction, and Raft refuses its outdated vote.
    pub(super) fn is_past(&self, vote: &Vote) -> bool {
        self.state.log.vote().is_some_and(|v| v.leader_id > vote.leader_id)
    }

    /// The last index that is settled here. What Raft calls committed will be applied, even if it is not yet.
    pub(super) async fn settled(&self, raft: &Raft) -> Result<u64, String> {
        let committed = raft.with_raft_state(|state| state.committed).await.map_err(|e| e.to_string())?;
        Ok(committed.map_or(0, |c| c.index).max(self.applied()))
    }

    /// Compares what an append follows and carries with what this replica has. What has left the log can't be compared any more.
    pub(super) fn compare(
        &self,
        from: NodeId,
        vote: &Vote,
        settled: u64,
        previous: Option<&LogId>,
        chain: &[u8],
        entries: &[Entry],
    ) -> Result<(), Unequal> {
        let log = &self.state.log;
        let mut contradiction = None;
        let mut behind = Hash([0; 32]);
        if let Some(id) = previous {
            behind = Hash::try_from(chain).map_err(|_| Unequal::NoChain)?;
            let forked = matches!(log.chain_at(id), Ok(Some(ours)) if ours != behind);
            let replaced =
                id.index <= settled && log.id_at(id.index).ok().flatten().is_some_and(|ours| ours != *id);
            contradiction = (forked || replaced).then_some(*id);
        }
        let contradiction = contradiction.or_else(|| log.rewritten(behind, entries, settled));
        // Look at the vote after the comparison, because a newer leader's append may arrive in between.
        match contradiction.filter(|_| !self.is_past(vote)) {
            Some(id) if id.index > settled => Err(Unequal::Unsettled(from, id)),
            Some(id) => Err(Unequal::Contradiction(from, id)),
            None => Ok(()),
        }
    }
}

/// Removes the entries that are not committed here, because the leader has another entry `at` the same id. A former leader that lied may have sent each of two honest
/// vaults its own entry under one id. Raft compares ids only: the two vaults would refuse each other's entries for ever. Raft removes entries only for one with another
/// id, so it gets an empty entry of this leader, which the leader's next append removes.
pub(super) async fn give_way(
    r: &Replica,
    raft: &Raft,
    vote: &Vote,
) -> Result<AppendEntriesResponse<u64>, String> {
    let committed = raft.with_raft_state(|state| state.committed).await.map_err(|e| e.to_string())?;
    let settled = committed.max(r.state.applied_id());
    let index = settled.map_or(0, |id| id.index + 1);
    let leader = CommittedLeaderId::new(vote.leader_id.term, vote.leader_id.node_id);
    let entry = Entry { log_id: LogId::new(leader, index), payload: EntryPayload::Blank };
    let rpc =
        AppendEntriesRequest { vote: *vote, prev_log_id: settled, entries: vec![entry], leader_commit: None };
    raft.append_entries(rpc).await.map_err(|e| e.to_string())
}
