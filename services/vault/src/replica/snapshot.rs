//! Receives a snapshot from another vault.

use std::collections::HashSet;

use bkv_core::id::NodeId;
use bkv_wire::proto::peer as p;
use openraft::{EmptyNode, Snapshot, SnapshotMeta};
use prost::{DecodeError, Message as _};

use super::admissible::{halt, refuse};
use super::context::Context;
use crate::peer::Body;
use crate::raft::install::Unfit;
use crate::raft::rows::stored_membership;
use crate::raft::snapshot::{Head, Received, SnapshotData};
use crate::raft::types::{log_id_in, vote_in, vote_out};

impl Context {
    /// Stages chunks. With the last chunk the whole snapshot is judged and handed to Raft.
    pub(super) async fn snapshot(&self, from: NodeId, chunk: p::SnapshotChunk) -> Body {
        let Some(r) = self.shard(chunk.shard) else { return refuse("unknown shard") };
        if let Some(why) = r.state.log.halted() {
            return refuse(format!("halted: {why}"));
        }
        let raft = r.raft.borrow().clone();
        let Some(raft) = raft else { return refuse("joining") };
        let Ok(vote) = vote_in(chunk.vote) else { return refuse("malformed vote") };
        if vote.leader_id.node_id != from.0 {
            return refuse("a snapshot in another node's name");
        }
        if let Err(error) = self.bounds().vote(&vote) {
            return refuse(error.to_string());
        }
        let answer = |vote| Body::SnapshotAnswer(p::SnapshotAnswer { vote: Some(vote_out(&vote)) });
        // As for entries: a snapshot from a former leader is no contradiction. The answer contains the newer vote.
        let newer = || r.state.log.vote().filter(|v| v.leader_id > vote.leader_id);
        if let Some(newer) = newer() {
            return answer(newer);
        }
        let (head, rows) = match self.staging.take(r.state.shard, from, &chunk) {
            Ok(Some(whole)) => whole,
            Ok(None) => return answer(vote),
            Err(e) => return refuse(e.to_string()),
        };
        let Ok(meta) = snapshot_meta(&head) else { return refuse("a snapshot whose head can't be decoded") };
        let bounds = self.bounds();
        if let Err(error) = meta.last_log_id.map_or(Ok(()), |id| bounds.id(&id)) {
            return refuse(error.to_string());
        }
        if meta.last_log_id.is_some_and(|id| id.index <= r.applied()) {
            return answer(vote); // a late copy: all of it is applied here
        }
        // As for entries: one message with a time in the future would end every wait and deadline of the shard.
        let fit = self
            .in_time("a snapshot", head.shard.time)
            .and_then(|()| self.whole(meta.last_membership.membership()));
        if let Err(error) = fit {
            tracing::error!(shard = r.state.shard, %error, "a snapshot refused on arrival");
            return refuse(error.to_string());
        }
        let mut received = Received { head, rows, confirmed: HashSet::new() };
        match r.state.examine(&mut received).await {
            Ok(()) => {}
            Err(Unfit::Halt(why)) => {
                if let Some(newer) = newer() {
                    return answer(newer);
                }
                halt(r, why.clone());
                return refuse(why);
            }
            Err(later) => return refuse(later.to_string()),
        }
        let data = SnapshotData::Received(Box::new(received));
        match raft.install_full_snapshot(vote, Snapshot { meta, snapshot: Box::new(data) }).await {
            Ok(a) => answer(a.vote),
            Err(e) => refuse(e.to_string()),
        }
    }
}

fn snapshot_meta(head: &Head) -> Result<SnapshotMeta<u64, EmptyNode>, DecodeError> {
    let last = log_id_in(&p::LogId::decode(&head.applied[..])?);
    let membership = stored_membership(head)?;
    Ok(SnapshotMeta {
        last_log_id: Some(last),
        last_membership: membership,
        snapshot_id: format!("{}-{}", last.leader_id.term, last.index),
    })
}
