//! Regions compare what a leader has signed, and pass on the proof that one has signed two histories. Without this a rooted leader could commit another entry at each of two
//! honest vaults, each time with its own vote, and nothing would tell which vault lied.

use std::collections::HashMap;

use bkv_core::document::Admission;
use bkv_core::id::{Hash, NodeId};
use bkv_wire::equivocation::{Signed, verify_appended};
use bkv_wire::proto::peer as p;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::admissible::refuse;
use super::context::Context;
use super::handle::Replica;
use crate::peer::Body;
use crate::raft::evidence::Compared;
use crate::raft::types::{Entry, LogId, Vote, ballot, chain};

/// How often a region is shown a proof that it has already taken.
const AGAIN: Duration = Duration::from_mins(1);
/// Time limit of a call, beside its round trip.
const CALL: Duration = Duration::from_secs(1);

/// What the other regions have been shown since this vault started.
#[derive(Default)]
pub(super) struct Shown {
    /// (shard, region) → the newest signature.
    newest: Mutex<HashMap<(u16, NodeId), p::Appended>>,
    /// (shard, region, proven vault, its identity) → when. A region may have lost the proof with its disk.
    proofs: Mutex<HashMap<(u16, NodeId, NodeId, Vec<u8>), Instant>>,
}

/// Why an append is refused for its signature.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsigned {
    #[error("this vault has no admission list")]
    NoAdmission,
    #[error("an append without the chain hash that it follows")]
    NoChain,
    #[error("an append that its leader has not signed: {0}")]
    Signature(#[from] bkv_wire::equivocation::Unproven),
}

impl Context {
    /// Checks the leader's signature on the entries of an append, and keeps it. Returns it with the chain hash that the append follows. None without entries.
    pub(super) fn check_signature(
        &self,
        r: &Replica,
        vote: &Vote,
        previous: Option<&LogId>,
        previous_chain: &[u8],
        entries: &[Entry],
        appended: Option<&p::Appended>,
    ) -> Result<Option<(p::Appended, Hash)>, Unsigned> {
        let Some(last) = entries.last() else { return Ok(None) };
        let list = self.admitted.get().ok_or(Unsigned::NoAdmission)?;
        let behind = match previous {
            Some(_) => Hash::try_from(previous_chain).map_err(|_| Unsigned::NoChain)?,
            None => Hash([0; 32]),
        };
        let chain = entries.iter().fold(behind, |before, entry| chain(&before, entry));
        let signed = Signed { vote: ballot(Some(vote)), index: last.log_id.index, chain };
        let appended = self.signatures.check(&list, r.state.shard, signed, appended)?;
        Ok(Some((appended, behind)))
    }

    /// The calls that show the other regions what leaders have signed, and proofs. One for each region and round in a busy shard, none in a quiet one.
    pub(super) fn show<'a>(&'a self, r: &'a Replica, list: &Admission) -> Vec<BoxFuture<'a, ()>> {
        let shard = r.state.shard;
        let others: Vec<NodeId> = list.members.iter().map(|m| m.node).filter(|n| *n != self.node).collect();
        let mut calls: Vec<BoxFuture<'a, ()>> = Vec::new();
        if let Some(newest) = r.state.log.evidence.newest() {
            let leader = newest.vote.map(|v| NodeId(v.node));
            let shown = self.shown.newest.lock();
            for to in others.iter().filter(|n| Some(**n) != leader) {
                if shown.get(&(shard, *to)) != Some(&newest) {
                    calls.push(Box::pin(self.show_newest(r, *to, newest.clone())));
                }
            }
        }
        for (proven, identity) in self.equivocators.proven(shard, list) {
            let key = |to: NodeId| (shard, to, proven, identity.clone());
            let now = Instant::now();
            let is_due = |to: &NodeId| {
                let shown = self.shown.proofs.lock();
                *to != proven && shown.get(&key(*to)).is_none_or(|at| now.duration_since(*at) >= AGAIN)
            };
            let due: Vec<NodeId> = others.iter().copied().filter(is_due).collect();
            if due.is_empty() {
                continue;
            }
            let Some(proof) = self.equivocators.proof(shard, proven) else { continue };
            for to in due {
                self.shown.proofs.lock().insert(key(to), now);
                calls.push(Box::pin(self.show_proof(key(to), proof.clone())));
            }
        }
        calls
    }

    async fn show_newest(&self, r: &Replica, to: NodeId, newest: p::Appended) {
        let shard = r.state.shard;
        let seen = Body::Seen(p::Seen { shard: u32::from(shard), newest: Some(newest.clone()) });
        if let Ok(Body::SeenAnswer(a)) = self.peers.call(to, seen, self.peers.deadline(CALL, 1)).await {
            self.shown.newest.lock().insert((shard, to), newest);
            if let Some(theirs) = a.newest {
                self.compare_shown(r, &theirs).await;
            }
        }
    }

    async fn show_proof(&self, key: (u16, NodeId, NodeId, Vec<u8>), proof: p::Equivocation) {
        let (call, deadline) = (Body::Equivocation(proof), self.peers.deadline(CALL, 1));
        if !matches!(self.peers.call(key.1, call, deadline).await, Ok(Body::EquivocationAnswer(_))) {
            self.shown.proofs.lock().remove(&key);
        }
    }

    /// Another region shows what a leader has signed. The answer has this region's own signature, if that is the shorter one.
    pub(super) async fn seen(&self, seen: &p::Seen) -> Body {
        let Some(r) = self.shard(seen.shard) else { return refuse("unknown shard") };
        let Some(theirs) = &seen.newest else { return refuse("malformed") };
        let newest = self.compare_shown(r, theirs).await;
        Body::SeenAnswer(p::SeenAnswer { newest })
    }

    async fn compare_shown(&self, r: &Replica, theirs: &p::Appended) -> Option<p::Appended> {
        let (shard, list) = (r.state.shard, self.admitted.get()?);
        let leader = theirs.vote.map(|v| NodeId(v.node))?;
        if self.equivocators.refusal(shard, leader).is_some() {
            return None;
        }
        let holds = || verify_appended(theirs, shard, &list).is_ok();
        match r.state.log.evidence.compare(&r.state.log, theirs, holds) {
            Compared::Nothing => {}
            Compared::Shorter(newest) => return Some(newest),
            Compared::Contradicts(proof) => self.exclude(&proof).await,
        }
        None
    }

    /// Another region shows a proof.
    pub(super) async fn equivocation(&self, proof: &p::Equivocation) -> Body {
        if self.shard(proof.shard).is_none() {
            return refuse("unknown shard");
        }
        match self.equivocators.take(proof).await {
            Ok(new) => {
                if new {
                    self.wake.notify_one();
                }
                Body::EquivocationAnswer(p::EquivocationAnswer {})
            }
            Err(error) => refuse(error.to_string()),
        }
    }

    /// Takes a proof that this vault has found, and passes it on.
    pub(super) async fn exclude(&self, proof: &p::Equivocation) {
        match self.equivocators.take(proof).await {
            Ok(_) => self.wake.notify_one(),
            Err(error) => {
                tracing::warn!(shard = proof.shard, %error, "two signatures of a leader that do not fit");
            }
        }
    }

    /// Why no Raft message of a vault is taken: it has signed two histories, or has contradicted this replica in that term.
    pub(super) fn refusal(&self, shard: u16, from: NodeId, term: u64) -> Option<String> {
        self.equivocators.refusal(shard, from).or_else(|| self.contradictions.refusal(shard, from, term))
    }
}
