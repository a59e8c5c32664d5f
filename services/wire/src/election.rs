//! What shows that a majority has elected a leader: signatures of the voters on the votes that they granted. Without them a rooted vault could claim every later term, and each
//! claim would end a leader.

use std::collections::BTreeSet;

use bkv_core::document::Admission;
use bkv_core::id::{NodeId, Signature};
use bkv_core::join::Ballot;
use bkv_core::statement;
use bkv_crypto::ed25519;

use crate::boot::{BootError, verify_identity};
use crate::proto::peer as p;

/// Why a signature does not show that a vote was granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVoted {
    /// The signature has another length than it must have.
    #[error("malformed")]
    Malformed,
    /// The certificate does not hold under this list.
    #[error(transparent)]
    Certificate(#[from] BootError),
    /// The boot key did not sign it.
    #[error("the signature of node {0} does not hold")]
    Signature(NodeId),
}

/// Too few signatures hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{holds} other vaults have signed that they voted for node {leader} in term {term}, and {needed} are needed", leader = vote.node, term = vote.term)]
pub struct NotElected {
    /// The vote that the leader claims.
    pub vote: Ballot,
    /// How many other vaults have signed.
    pub holds: usize,
    /// How many others make a majority with the leader.
    pub needed: usize,
    /// A voter's certificate does not hold under this list. It may hold under the leader's, so the leader has not lied.
    pub unknown_voter: bool,
}

/// Checks that a vault has signed that it granted this vote. Returns the voter. The dates of its certificate do not matter: a follower whose clock is wrong must not refuse
/// its leader.
pub fn voter(voted: &p::Voted, shard: u16, vote: Ballot, list: &Admission) -> Result<NodeId, NotVoted> {
    let signature = Signature::try_from(&voted.signature[..]).map_err(|_| NotVoted::Malformed)?;
    let claims = verify_identity(&voted.certificate, list)?;
    let statement = statement::voted(&list.lineage, list.era, claims.node, shard, vote);
    let holds = ed25519::verify(&claims.key.0, &statement, &signature.0);
    holds.then_some(claims.node).ok_or(NotVoted::Signature(claims.node))
}

/// Checks that the vote's node and the voters who signed are a majority of the list's vaults. A signature that does not hold counts for nothing.
pub fn verify(votes: &[p::Voted], shard: u16, vote: Ballot, list: &Admission) -> Result<(), NotElected> {
    let members = list.members.len();
    // Each check costs time, and an honest leader shows no more.
    let voters: Vec<_> = votes.iter().take(members).map(|v| voter(v, shard, vote, list)).collect();
    let unknown_voter = voters.iter().any(|v| matches!(v, Err(NotVoted::Certificate(_))));
    let holds = voters.into_iter().flatten().filter(|v| *v != vote.node).collect::<BTreeSet<_>>().len();
    let needed = members / 2;
    if holds >= needed { Ok(()) } else { Err(NotElected { vote, holds, needed, unknown_voter }) }
}

#[cfg(test)]
#[path = "election_test.rs"]
mod election_test;
