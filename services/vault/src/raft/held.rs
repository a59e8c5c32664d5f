//! Signed acknowledgements: a vault's own signature on what its disk holds. Other vaults keep them and show them to the vault when it starts again. Without the
//! signature one lying vault could have any other quarantined.

use bkv_core::document::Admission;
use bkv_core::id::{Hash, NodeId, Signature};
use bkv_core::join::Ballot;
use bkv_core::statement;
use bkv_crypto::ed25519;
use bkv_wire::boot;
use bkv_wire::proto::peer as p;
use bytes::Bytes;

use super::bounds::Bounds;
use super::types::{LogId, Vote, ballot, log_id_in, log_id_out, vote_in, vote_out};

/// What this vault's boot key signs when it acknowledges.
pub(crate) fn statement(
    list: &Admission,
    node: NodeId,
    shard: u16,
    vote: &Vote,
    id: &LogId,
    chain: &Hash,
) -> Vec<u8> {
    let leader = Ballot { term: id.leader_id.term, node: NodeId(id.leader_id.node_id) };
    statement::held(&list.lineage, list.era, node, shard, ballot(Some(vote)), leader, id.index, chain)
}

/// The message with the signature.
pub(crate) fn signed(vote: &Vote, id: &LogId, chain: &Hash, certificate: Bytes, signature: Bytes) -> p::Held {
    p::Held {
        vote: Some(vote_out(vote)),
        id: Some(log_id_out(id)),
        chain: chain.0.to_vec().into(),
        certificate,
        signature,
    }
}

/// A copy of what another vault signed. None if it can't be that. The bytes of a message share its frame, which may have 16 MiB, and a copy does not.
pub(crate) fn copied(held: &p::Held, bounds: Bounds) -> Option<p::Held> {
    in_bounds(held, bounds)?;
    let fits = held.certificate.len() <= boot::MAX_CERTIFICATE
        && held.signature.len() == 64
        && held.chain.len() == 32;
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    fits.then(|| p::Held {
        vote: held.vote,
        id: held.id,
        chain: copy(&held.chain),
        certificate: copy(&held.certificate),
        signature: copy(&held.signature),
    })
}

/// The vote and the entry. None if a number is one that no honest vault can have reached.
fn in_bounds(held: &p::Held, bounds: Bounds) -> Option<(Vote, LogId)> {
    let (vote, id) = (vote_in(held.vote).ok()?, log_id_in(held.id.as_ref()?));
    bounds.vote(&vote).and_then(|()| bounds.id(&id)).ok()?;
    Some((vote, id))
}

/// The vote, the entry and the chain hash that this node has signed. None if it has not signed this.
pub(crate) fn own(
    list: &Admission,
    node: NodeId,
    shard: u16,
    held: &p::Held,
    bounds: Bounds,
) -> Option<(Vote, LogId, Hash)> {
    let (vote, id) = in_bounds(held, bounds)?;
    let chain = Hash::try_from(&held.chain[..]).ok()?;
    let signature = Signature::try_from(&held.signature[..]).ok()?;
    let claims = boot::verify_ever(&held.certificate, list).ok().filter(|c| c.node == node)?;
    let message = statement(list, node, shard, &vote, &id, &chain);
    ed25519::verify(&claims.key.0, &message, &signature.0).then_some((vote, id, chain))
}
