//! Vaults that are proven to have signed two histories of a shard. No Raft message is taken from them or sent to them there, restarts included. One proof of
//! anybody is enough: a vault gets here only if an attacker has its keys, if it ran twice at once, or if its volume and its token were restored together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bkv_core::document::Admission;
use bkv_core::encoding::cbor;
use bkv_core::id::NodeId;
use bkv_wire::equivocation::{Unproven, verify};
use bkv_wire::proto::peer as p;
use minicbor::{Decode, Encode};
use parking_lot::Mutex;
use prost::Message as _;

use super::rows::read;
use crate::peer::Admitted;
use crate::store::{Change, Place, Store, StoreError, Table};

/// A vault that has signed two histories of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Equivocator {
    /// The shard.
    pub shard: u16,
    /// The vault.
    pub node: NodeId,
    /// The term in which it led.
    pub term: u64,
    /// The index at which its two histories differ, or a later one.
    pub index: u64,
}

/// One of them as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
struct Proven {
    #[n(0)]
    node: NodeId,
    #[n(1)]
    term: u64,
    #[n(2)]
    index: u64,
    /// The identity that has certified the keys of both signatures. A list that replaces it ends the exclusion.
    #[cbor(n(3), with = "minicbor::bytes")]
    identity: Vec<u8>,
    /// The message that proves it.
    #[cbor(n(4), with = "minicbor::bytes")]
    proof: Vec<u8>,
}

fn place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"equivocators")
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Equivocators {
    store: Store,
    admitted: Admitted,
    proven: Arc<Mutex<BTreeMap<u16, Vec<Proven>>>>,
    /// (shard, vault) of those that may not be on the disk yet.
    unwritten: Arc<Mutex<BTreeSet<(u16, NodeId)>>>,
}

impl Equivocators {
    /// Reads those of earlier starts.
    pub(crate) fn open(shards: u16, store: Store, admitted: Admitted) -> Result<Self, StoreError> {
        let mut proven = BTreeMap::new();
        for shard in 0..shards {
            if let Some(row) = store.get(&place(shard))? {
                proven.insert(shard, read("equivocators", &row)?);
            }
        }
        Ok(Self { store, admitted, proven: Arc::new(Mutex::new(proven)), unwritten: Arc::default() })
    }

    /// Takes a proof of anybody. It is on the disk when this returns. True if it was not known.
    pub(crate) async fn take(&self, proof: &p::Equivocation) -> Result<bool, NotTaken> {
        let (shard, list) = (u16::try_from(proof.shard).ok(), self.admitted.get());
        let (Some(shard), Some(list)) = (shard, list) else { return Err(Unproven::Malformed.into()) };
        let accused = proof.lower.as_ref().and_then(|l| l.vote).map(|v| NodeId(v.node));
        if let Some(node) = accused.filter(|node| self.refusal(shard, *node).is_some()) {
            // Another caller may have brought it at this moment.
            let is_unwritten = self.unwritten.lock().contains(&(shard, node));
            if is_unwritten {
                self.store.flush().await?;
            }
            return Ok(false);
        }
        let signed = verify(proof, &list)?;
        let node = signed.vote.node;
        let identity = list.node(node).map(|m| m.identity.clone()).unwrap_or_default();
        let (term, index) = (signed.vote.term, signed.index);
        let new = Proven { node, term, index, identity, proof: proof.encode_to_vec() };
        self.unwritten.lock().insert((shard, node));
        {
            let mut proven = self.proven.lock();
            let all = proven.entry(shard).or_default();
            all.retain(|p| p.node != node);
            all.push(new);
            self.store.write(vec![Change::put(place(shard), cbor(all))], None);
        }
        tracing::error!(
            shard,
            node = node.0,
            region = list.node(node).map(|m| m.region.as_str()),
            term,
            index,
            "a vault has signed two histories: this vault takes no Raft message from it in this shard any more"
        );
        self.store.flush().await?;
        self.unwritten.lock().remove(&(shard, node));
        Ok(true)
    }

    /// Why no Raft message is exchanged with a vault in a shard.
    pub(crate) fn refusal(&self, shard: u16, node: NodeId) -> Option<String> {
        let proven = self.proven.lock();
        // The usual case: there is none.
        let known = proven.get(&shard)?.iter().find(|p| p.node == node)?;
        let list = self.admitted.get()?;
        let member = list.node(node).filter(|m| m.identity == known.identity)?;
        let (region, term, index) = (&member.region, known.term, known.index);
        Some(format!("excluded: the vault of {region} has signed two histories in term {term}, at {index}"))
    }

    /// The proven vaults of a shard that count under the list in force, each with its identity.
    pub(crate) fn proven(&self, shard: u16, list: &Admission) -> Vec<(NodeId, Vec<u8>)> {
        let proven = self.proven.lock();
        let counts = |p: &&Proven| list.node(p.node).is_some_and(|m| m.identity == p.identity);
        let all = proven.get(&shard).into_iter().flatten().filter(counts);
        all.map(|p| (p.node, p.identity.clone())).collect()
    }

    /// The proof against a vault.
    pub(crate) fn proof(&self, shard: u16, node: NodeId) -> Option<p::Equivocation> {
        let proven = self.proven.lock();
        let known = proven.get(&shard)?.iter().find(|p| p.node == node)?;
        p::Equivocation::decode(&known.proof[..]).ok()
    }

    /// Those that count under the list in force.
    pub(crate) fn all(&self) -> Vec<Equivocator> {
        let Some(list) = self.admitted.get() else { return Vec::new() };
        let proven = self.proven.lock();
        let all = proven.iter().flat_map(|(shard, all)| all.iter().map(|p| (*shard, p)));
        all.filter(|(_, p)| list.node(p.node).is_some_and(|m| m.identity == p.identity))
            .map(|(shard, p)| Equivocator { shard, node: p.node, term: p.term, index: p.index })
            .collect()
    }
}

/// Why a proof is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("no proof: {0}")]
    Unproven(#[from] Unproven),
    #[error(transparent)]
    Store(#[from] StoreError),
}
