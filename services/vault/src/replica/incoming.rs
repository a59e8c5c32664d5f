//! Answers Raft calls of other vaults.

use bkv_core::id::{Hash, NodeId};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};

use super::admissible::{halt, refuse};
use super::context::Context;
use super::cut::Append;
use super::handle::Replica;
use super::join;
use super::status::Phase;
use crate::peer::{Body, Incoming};
use crate::raft::types::{Raft, entry_in, log_id_in, log_id_out, vote_in, vote_out};

fn refuse_raft(reason: impl Into<String>) -> p::raft_answer::Answer {
    p::raft_answer::Answer::Failed(p::Failed { reason: reason.into() })
}

#[async_trait::async_trait]
impl Incoming for Context {
    async fn call(&self, from: NodeId, body: Body) -> Body {
        match body {
            Body::Ask(ask) => match self.shard(ask.shard) {
                Some(r) => {
                    let verified = matches!(r.status.borrow().phase, Phase::Verified);
                    Body::Told(join::answer(
                        r.state.shard,
                        from,
                        &ask,
                        &r.state.log,
                        verified,
                        &self.acknowledged,
                    ))
                }
                None => refuse("unknown shard"),
            },
            Body::Checkpoint(c) => self.checkpoint(&c),
            Body::Snapshot(chunk) => self.snapshot(from, chunk).await,
            body => match self.service.get() {
                Some(service) => service.handle(from, body).await,
                None => refuse("starting"),
            },
        }
    }

    async fn raft(&self, from: NodeId, call: p::RaftCall) -> p::raft_answer::Answer {
        let Some(r) = self.shard(call.shard) else { return refuse_raft("unknown shard") };
        if let Some(why) = r.state.log.halted() {
            return refuse_raft(format!("halted: {why}"));
        }
        let raft = r.raft.borrow().clone();
        let Some(raft) = raft else { return refuse_raft("joining") };
        match call.call {
            Some(p::raft_call::Call::Append(a)) => self.append(from, r, &raft, a).await,
            Some(p::raft_call::Call::Vote(v)) => self.vote(from, r, &raft, v).await,
            None => refuse_raft("malformed"),
        }
    }
}

impl Context {
    async fn append(
        &self,
        from: NodeId,
        r: &Replica,
        raft: &Raft,
        a: p::AppendEntries,
    ) -> p::raft_answer::Answer {
        let Ok(vote) = vote_in(a.vote) else { return refuse_raft("malformed vote") };
        // Only the node that the vote names may append under that vote.
        if vote.leader_id.node_id != from.0 {
            return refuse_raft("an append in another node's name");
        }
        if let Err(error) = self.bounds().vote(&vote) {
            return refuse_raft(error.to_string());
        }
        let previous = a.previous.as_ref().map(log_id_in);
        // A former leader that hung or was cut off may still hold uncommitted entries where others have been applied here. That is no fork: Raft
        // refuses its outdated vote. Check this after a contradiction is found, because a newer leader's append may arrive in between.
        let is_past = || r.state.log.vote().is_some_and(|v| v.leader_id > vote.leader_id);
        let mut behind = Hash([0; 32]);
        if let Some(id) = previous.as_ref() {
            // Without the chain hash a fork could go unnoticed. An honest leader has it for everything that it sends.
            let Ok(theirs) = Hash::try_from(&a.previous_chain[..]) else {
                return refuse_raft("an append without the chain hash that it follows");
            };
            if let Ok(Some(ours)) = r.state.log.chain_at(id)
                && ours != theirs
                && !is_past()
            {
                let why = format!("node {from} has another history at {id}");
                halt(r, why.clone());
                return refuse_raft(why);
            }
            behind = theirs;
        }
        let mut entries = Vec::with_capacity(a.entries.len());
        for e in a.entries {
            match entry_in(e) {
                Ok(e) => entries.push(e),
                Err(e) => return refuse_raft(e.to_string()),
            }
        }
        let committed = a.committed.as_ref().map(log_id_in);
        if let Err(error) = self.ordered(from, r, &vote, previous.as_ref(), &entries, committed.as_ref()) {
            return refuse_raft(error.to_string());
        }
        if let Some(at) = r.state.log.rewritten(behind, &entries, r.applied())
            && !is_past()
        {
            let why = format!("node {from} has another history at {at}");
            halt(r, why.clone());
            return refuse_raft(why);
        }
        if let Err(error) = self.acceptable(&entries) {
            tracing::error!(shard = r.state.shard, %error, "entries refused on arrival");
            return refuse_raft(error.to_string());
        }
        let append = Append { previous, entries, committed };
        let append = append.cut(r.state.applied_id(), |index| r.state.log.id_at(index).ok().flatten());
        let rpc = AppendEntriesRequest {
            vote,
            prev_log_id: append.previous,
            entries: append.entries,
            leader_commit: append.committed,
        };
        let result = match raft.append_entries(rpc).await {
            Ok(AppendEntriesResponse::Success) => R::Success(true),
            Ok(AppendEntriesResponse::PartialSuccess(id)) => {
                R::Partial(id.as_ref().map(log_id_out).unwrap_or_default())
            }
            Ok(AppendEntriesResponse::Conflict) => R::Conflict(true),
            Ok(AppendEntriesResponse::HigherVote(v)) => R::HigherVote(vote_out(&v)),
            Err(e) => return refuse_raft(e.to_string()),
        };
        p::raft_answer::Answer::Append(p::AppendAnswer { result: Some(result) })
    }

    async fn vote(
        &self,
        from: NodeId,
        r: &Replica,
        raft: &Raft,
        v: p::VoteRequest,
    ) -> p::raft_answer::Answer {
        let until = self.until.lock().get(&r.state.shard).copied();
        if until.is_some_and(|u| !join::may_vote(v.last.as_ref(), u)) {
            return refuse_raft("catching up");
        }
        let Some(vote) = join::read_vote(v.vote) else { return refuse_raft("malformed vote") };
        let last = v.last.as_ref().map(log_id_in);
        let bounds = self.bounds();
        if let Err(error) = bounds.vote(&vote).and_then(|()| last.as_ref().map_or(Ok(()), |id| bounds.id(id)))
        {
            return refuse_raft(error.to_string());
        }
        if vote.leader_id.node_id != from.0 {
            return refuse_raft("a request for votes in another node's name");
        }
        match raft.vote(VoteRequest::new(vote, last)).await {
            Ok(answer) => p::raft_answer::Answer::Vote(p::VoteAnswer {
                vote: Some(vote_out(&answer.vote)),
                granted: answer.vote_granted,
                last: answer.last_log_id.as_ref().map(log_id_out),
            }),
            Err(e) => refuse_raft(e.to_string()),
        }
    }
}
