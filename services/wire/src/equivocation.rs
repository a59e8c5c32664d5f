//! What a leader signs with its appends, and the proof that one has signed two histories. Both are checked without the log: by every vault, and by everybody who has an
//! admission list with the identity of the vault in question.

use bkv_core::document::Admission;
use bkv_core::hash;
use bkv_core::id::{Hash, NodeId, PublicKey, Signature};
use bkv_core::join::Ballot;
use bkv_core::statement;
use bkv_crypto::ed25519;

use crate::boot::{self, BootError};
use crate::proto::peer as p;

/// The most entries between the two signatures of a proof.
pub const MOST_BETWEEN: usize = 4096;

/// Why a signature on a log, or a proof, does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// A field is missing or has another length than it must have.
    #[error("malformed")]
    Malformed,
    /// The certificate does not hold under this list.
    #[error(transparent)]
    Certificate(#[from] BootError),
    /// The certificate is that of another vault than the vote names.
    #[error("the boot key is that of node {0}, and node {1} leads by this vote")]
    OtherNode(NodeId, NodeId),
    /// The boot key did not sign it.
    #[error("the signature does not hold")]
    Signature,
    /// The two signatures are on one history, or can't be compared.
    #[error("the two signatures do not contradict each other")]
    NoContradiction,
}

/// The fields of a leader's signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The vote under which the leader leads.
    pub vote: Ballot,
    /// The index up to which it has signed.
    pub index: u64,
    /// The chain hash there.
    pub chain: Hash,
}

impl Signed {
    /// Reads the fields. Checks no signature.
    pub fn read(a: &p::Appended) -> Result<Self, Unproven> {
        let vote = a.vote.filter(|v| v.committed).ok_or(Unproven::Malformed)?;
        let chain = Hash::try_from(&a.chain[..]).map_err(|_| Unproven::Malformed)?;
        Ok(Self { vote: Ballot { term: vote.term, node: NodeId(vote.node) }, index: a.index, chain })
    }

    /// The bytes that are signed.
    pub fn statement(&self, list: &Admission, shard: u16) -> Vec<u8> {
        statement::appended(&list.lineage, list.era, shard, self.vote, self.index, &self.chain)
    }

    /// Checks the signature with a boot key whose certificate has been checked.
    pub fn check(
        &self,
        list: &Admission,
        shard: u16,
        key: &PublicKey,
        signature: &[u8],
    ) -> Result<(), Unproven> {
        let signature = Signature::try_from(signature).map_err(|_| Unproven::Malformed)?;
        let holds = ed25519::verify(&key.0, &self.statement(list, shard), &signature.0);
        holds.then_some(()).ok_or(Unproven::Signature)
    }
}

/// The boot key of the vault that leads by this vote. The dates of the certificate do not matter: what a vault has signed binds it for ever, and a vault whose clock is
/// wrong must not refuse its leader.
pub fn key_of(certificate: &[u8], list: &Admission, leader: NodeId) -> Result<PublicKey, Unproven> {
    let claims = boot::verify_identity(certificate, list)?;
    if claims.node == leader { Ok(claims.key) } else { Err(Unproven::OtherNode(claims.node, leader)) }
}

/// Checks a leader's signature with its certificate.
pub fn verify_appended(a: &p::Appended, shard: u16, list: &Admission) -> Result<Signed, Unproven> {
    let signed = Signed::read(a)?;
    let key = key_of(&a.certificate, list, signed.vote.node)?;
    signed.check(list, shard, &key, &a.signature)?;
    Ok(signed)
}

/// Checks a proof. Returns what the vault has signed at the lower index. Within one vote the log of an honest leader only grows, and each chain hash fixes all entries
/// before it. So an honest leader never signs both.
pub fn verify(e: &p::Equivocation, list: &Admission) -> Result<Signed, Unproven> {
    let shard = u16::try_from(e.shard).map_err(|_| Unproven::Malformed)?;
    let (Some(lower), Some(upper)) = (&e.lower, &e.upper) else { return Err(Unproven::Malformed) };
    let (below, above) = (Signed::read(lower)?, Signed::read(upper)?);
    let (contents, rest) = e.contents.as_chunks::<32>();
    let between = above.index.checked_sub(below.index).ok_or(Unproven::NoContradiction)?;
    if !rest.is_empty() || contents.len() > MOST_BETWEEN || contents.len() as u64 != between {
        return Err(Unproven::Malformed);
    }
    let other = Hash::try_from(&e.chain[..]).map_err(|_| Unproven::Malformed)?;
    let end = contents.iter().fold(other, |chain, content| hash::chain(&chain, &Hash(*content)));
    if below.vote != above.vote || end != above.chain || other == below.chain {
        return Err(Unproven::NoContradiction);
    }
    verify_appended(lower, shard, list)?;
    verify_appended(upper, shard, list)?;
    Ok(below)
}

#[cfg(test)]
#[path = "equivocation_test.rs"]
mod equivocation_test;
