//! What vaults sign about their logs, their votes and their programs.

use crate::hash::framed;
use crate::id::{Era, Hash, Lineage, NodeId, Slot};
use crate::join::Ballot;

/// A region's boot key signs this when it acknowledges log entries: under this vote its disk holds the log up to this entry, with this chain hash.
#[allow(clippy::too_many_arguments)] // the statement's fields, each once
pub fn held(
    lineage: &Lineage,
    era: Era,
    node: NodeId,
    shard: u16,
    vote: Ballot,
    leader: Ballot,
    index: u64,
    chain: &Hash,
) -> Vec<u8> {
    let ballot = |b: Ballot| [b.term.to_be_bytes(), b.node.0.to_be_bytes()].concat();
    framed(
        "bkv/held/1",
        &[
            &lineage.0,
            &era.0.to_be_bytes(),
            &node.0.to_be_bytes(),
            &shard.to_be_bytes(),
            &ballot(vote),
            &ballot(leader),
            &index.to_be_bytes(),
            &chain.0,
        ],
    )
}

/// The boot key of a leader signs this with each append that carries entries: under this vote, whose node it is, its log has this chain hash at this index. Within
/// one vote a leader's log only grows. So two of these statements that do not fit one log prove that the leader lies.
pub fn appended(lineage: &Lineage, era: Era, shard: u16, vote: Ballot, index: u64, chain: &Hash) -> Vec<u8> {
    framed(
        "bkv/appended/1",
        &[
            &lineage.0,
            &era.0.to_be_bytes(),
            &shard.to_be_bytes(),
            &vote.term.to_be_bytes(),
            &vote.node.0.to_be_bytes(),
            &index.to_be_bytes(),
            &chain.0,
        ],
    )
}

/// The boot key of a voter signs this when it grants a vote: in this term it has voted for the vote's node. With these signatures a leader shows that a majority has elected it.
pub fn voted(lineage: &Lineage, era: Era, voter: NodeId, shard: u16, vote: Ballot) -> Vec<u8> {
    framed(
        "bkv/voted/1",
        &[
            &lineage.0,
            &era.0.to_be_bytes(),
            &voter.0.to_be_bytes(),
            &shard.to_be_bytes(),
            &vote.term.to_be_bytes(),
            &vote.node.0.to_be_bytes(),
        ],
    )
}

/// A region's boot key signs this when a leader asks: its program can apply this version of the state.
pub fn applies(lineage: &Lineage, era: Era, slot: Slot, version: u32) -> Vec<u8> {
    framed("bkv/applies/1", &[&lineage.0, &era.0.to_be_bytes(), &[slot.0], &version.to_be_bytes()])
}
