//! Votes that this vault signs, and the check that a leader was elected by such votes. openraft takes every append for a leader's. Without the check a rooted vault could claim a later
//! term again and again, and each claim would end a leader.

use bkv_core::id::NodeId;
use bkv_core::statement;
use bkv_wire::proto::peer as p;

use super::context::Context;
use super::handle::Replica;
use crate::raft::mandates::Unelected;
use crate::raft::types::{Vote, ballot};

/// Why nothing is taken under a vote.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmandated {
    #[error("this vault has no admission list")]
    NoAdmission,
    #[error(transparent)]
    Unelected(#[from] Unelected),
}

impl Context {
    /// This vault's signature on a vote that it grants. None without a boot key or an admission list: such a vote would elect a leader whom nobody can follow.
    pub(super) fn voted(&self, r: &Replica, vote: &Vote) -> Option<p::Voted> {
        let (service, list) = (self.service.get()?, self.admitted.get()?);
        let vote = ballot(Some(vote));
        let statement = statement::voted(&list.lineage, list.era, self.node, r.state.shard, vote);
        let (certificate, signature) = service.sign(&statement)?;
        Some(p::Voted { certificate, signature })
    }

    /// Checks that a majority has elected the sender under this vote.
    pub(super) fn check_mandate(
        &self,
        r: &Replica,
        from: NodeId,
        vote: &Vote,
        votes: &[p::Voted],
    ) -> Result<(), Unmandated> {
        let list = self.admitted.get().ok_or(Unmandated::NoAdmission)?;
        let checked = r.mandates.check(r.state.shard, ballot(Some(vote)), votes, &list);
        // A leader and this vault may obey different lists for a moment. Otherwise an honest one shows enough.
        if let Err(error @ Unelected::Few(few)) = &checked
            && !few.unknown_voter
        {
            // Term 0 names the sender and refuses nothing more.
            self.contradictions.note(r.state.shard, from, 0, &error.to_string());
        }
        Ok(checked?)
    }

    /// Checks a leader's mandate under a new admission list. If it has ended, the leader's next append ends its term: a follower that starts again could not follow it.
    pub(super) fn renew_mandate(&self, r: &Replica) {
        let (Some(list), Some(vote)) = (self.admitted.get(), r.state.log.vote()) else { return };
        if !r.mandates.holds(r.state.shard, ballot(Some(&vote)), &list) {
            let shard = r.state.shard;
            let list = list.number;
            tracing::warn!(shard, list, "the list replaces a voter, so an election begins");
        }
    }
}
