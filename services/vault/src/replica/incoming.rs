//! Answers Raft calls of other vaults.

use std::sync::atomic::Ordering;

use bkv_core::id::NodeId;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use tokio::time::Instant;

use super::admissible::{Inadmissible, refuse};
use super::context::Context;
use super::cut::Append;
use super::handle::Replica;
use super::history::{Unequal, follow, give_way};
use super::join;
use super::mandate::Unmandated;
use super::status::Phase;
use crate::peer::{Body, Incoming};
use crate::raft::held;
use crate::raft::mandates::Unelected;
use crate::raft::types::{LogId, Raft, Vote, entry_in, log_id_in, log_id_out, vote_in, vote_out};

fn refuse_raft(reason: impl Into<String>) -> p::raft_answer::Answer {
    p::raft_answer::Answer::Failed(p::Failed { reason: reason.into() })
}

fn append_answer(answer: &AppendEntriesResponse<u64>) -> p::raft_answer::Answer {
    p::raft_answer::Answer::Append(answer_of(answer))
}

fn answer_of(answer: &AppendEntriesResponse<u64>) -> p::AppendAnswer {
    let result = match answer {
        AppendEntriesResponse::Success => R::Success(true),
        AppendEntriesResponse::PartialSuccess(id) => {
            R::Partial(id.as_ref().map(log_id_out).unwrap_or_default())
        }
        AppendEntriesResponse::Conflict => R::Conflict(true),
        AppendEntriesResponse::HigherVote(v) => R::HigherVote(vote_out(v)),
    };
    p::AppendAnswer { result: Some(result), ..Default::default() }
}

#[async_trait::async_trait]
impl Incoming for Context {
    async fn call(&self, from: NodeId, body: Body) -> Body {
        match body {
            Body::Ask(ask) => match self.shard(ask.shard) {
                Some(r) => {
                    let verified = matches!(r.status.borrow().phase, Phase::Verified);
                    Body::Told(join::answer(&r.state, from, &ask, verified, &self.acknowledged))
                }
                None => refuse("unknown shard"),
            },
            Body::Checkpoint(c) => self.checkpoint(&c),
            Body::Seen(seen) => self.seen(&seen).await,
            Body::Equivocation(proof) => self.equivocation(&proof).await,
            Body::Snapshot(chunk) => self.snapshot(from, chunk).await,
            body => match self.service.get() {
                Some(service) => service.handle(from, body).await,
                None => refuse("starting"),
            },
        }
    }

    async fn raft(&self, from: NodeId, call: p::RaftCall) -> p::raft_answer::Answer {
        let Some(r) = self.shard(call.shard) else { return refuse_raft("unknown shard") };
        if let Some(stop) = r.state.log.stopped() {
            return refuse_raft(format!("stopped: {stop}"));
        }
        let raft = r.raft.borrow().clone();
        let Some(raft) = raft else { return refuse_raft(r.not_begun()) };
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
        // Only a majority makes a leader. openraft takes an append for a leader's and does not check it.
        if !vote.committed {
            return refuse_raft("an append under a vote that no majority gave");
        }
        if let Err(error) = self.bounds().vote(&vote) {
            return refuse_raft(error.to_string());
        }
        if let Some(why) = self.refusal(r.state.shard, from, vote.leader_id.term) {
            return refuse_raft(why);
        }
        // A former leader's append is answered before its entries cost anything.
        if let Some(newer) = r.newer_vote(&vote) {
            return append_answer(&AppendEntriesResponse::HigherVote(newer));
        }
        let Some(_arriving) = r.arriving.enter(from, a.entries.is_empty()) else {
            return refuse_raft("too many appends at once");
        };
        match self.check_mandate(r, from, &vote, &a.votes) {
            Ok(()) => {}
            Err(Unmandated::Unelected(Unelected::NotShown)) => {
                let result = Some(R::Unelected(true));
                return p::raft_answer::Answer::Append(p::AppendAnswer { result, ..Default::default() });
            }
            Err(error) => return refuse_raft(error.to_string()),
        }
        let previous = a.previous.as_ref().map(log_id_in);
        let mut entries = Vec::with_capacity(a.entries.len());
        for e in a.entries {
            match entry_in(e) {
                Ok(e) => entries.push(e),
                Err(e) => return refuse_raft(e.to_string()),
            }
        }
        let committed = a.committed.as_ref().map(log_id_in);
        let claimed = committed.map_or(0, |id| id.index);
        if let Err(error) = self.ordered(&vote, previous.as_ref(), &entries, committed.as_ref()) {
            return refuse_raft(error.to_string());
        }
        // Before the entries are judged: what an earlier append brings decides about this one.
        let _appending = r.appending.lock().await;
        let (raised, not_yet) = match self.acceptable(r, previous.as_ref(), &entries) {
            Ok(raised) => (raised, None),
            // An honest leader sends them, too, and again and again. Without its entries the append tells a new leader whether its log and this one agree at `previous`, and
            // brings what is committed up to there.
            Err(error @ (Inadmissible::LeftBehind(_) | Inadmissible::Early(..))) => {
                tracing::debug!(shard = r.state.shard, %error, "entries refused on arrival");
                entries.clear();
                (None, Some(error))
            }
            Err(error) => {
                tracing::error!(shard = r.state.shard, %error, "entries refused on arrival");
                return refuse_raft(error.to_string());
            }
        };
        let (previous_chain, appended) = (&a.previous_chain, a.appended.as_ref());
        let checked = self.check_signature(r, &vote, previous.as_ref(), previous_chain, &entries, appended);
        let signed = match checked {
            Ok(signed) => signed,
            Err(error) => {
                // Term 0 names the sender and refuses nothing more: without a signature nothing is proven.
                self.contradictions.note(r.state.shard, from, 0, &error.to_string());
                return refuse_raft(error.to_string());
            }
        };
        match follow(r, raft, &vote).await {
            Ok(higher @ AppendEntriesResponse::HigherVote(_)) => return append_answer(&higher),
            Ok(_) => {}
            Err(error) => return refuse_raft(error),
        }
        let settled = match r.settled(raft).await {
            Ok(settled) => settled,
            Err(error) => return refuse_raft(error),
        };
        let compare = || r.compare(from, &vote, settled, previous.as_ref(), previous_chain, &entries);
        let mut compared = compare();
        if let (Err(_), Some((appended, behind))) = (&compared, &signed) {
            let log = &r.state.log;
            let proof = log.evidence.compare_refused(log, appended, previous.as_ref(), *behind, &entries);
            if let Some(proof) = proof {
                self.exclude(&proof).await;
            }
        }
        let is_excluded = self.equivocators.refusal(r.state.shard, from).is_some();
        if let Err(Unequal::Unsettled(_, at)) = &compared
            && !is_excluded
        {
            tracing::warn!(shard = r.state.shard, %at, "an entry that is not committed gives way to the leader's");
            match give_way(raft, &vote, at.index).await {
                Ok(higher @ AppendEntriesResponse::HigherVote(_)) => return append_answer(&higher),
                Ok(_) => {}
                Err(error) => return refuse_raft(error),
            }
            // If it is still there, this leader has sent both entries itself.
            compared = compare();
        }
        match compared {
            Ok(()) => {}
            Err(Unequal::NoChain) => return refuse_raft(Unequal::NoChain.to_string()),
            // Refuse it and name its sender.
            Err(error) => {
                let why = error.to_string();
                self.contradictions.note(r.state.shard, from, vote.leader_id.term, &why);
                return refuse_raft(why);
            }
        }
        if let Some((appended, _)) = &signed {
            r.state.log.evidence.keep(appended);
        }
        r.raise_taken(raised);
        let append = Append { previous, entries, committed };
        let append = append.cut(r.state.applied_id(), |index| r.state.log.id_at(index).ok().flatten());
        let last = append.entries.last().map(|e| e.log_id).or(append.previous);
        let rpc = AppendEntriesRequest {
            vote,
            prev_log_id: append.previous,
            entries: append.entries,
            leader_commit: append.committed,
        };
        match raft.append_entries(rpc).await {
            Ok(answer) => {
                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                    r.leader_committed.store(claimed, Ordering::Relaxed);
                    r.silence.leader_heard();
                }
                if let Some(error) = not_yet.filter(|_| matches!(answer, AppendEntriesResponse::Success)) {
                    return refuse_raft(error.to_string());
                }
                let held = last.filter(|_| matches!(answer, AppendEntriesResponse::Success));
                let held = held.and_then(|id| self.held(r, vote, id));
                let is_conflict = matches!(answer, AppendEntriesResponse::Conflict);
                let lift = if is_conflict { r.state.log.lifted() } else { Bytes::new() };
                p::raft_answer::Answer::Append(p::AppendAnswer { held, lift, ..answer_of(&answer) })
            }
            Err(e) => refuse_raft(e.to_string()),
        }
    }

    /// This vault's signature on what its disk holds, once for each leader and entry. Heartbeats repeat the last entry and carry none.
    fn held(&self, r: &Replica, vote: Vote, id: LogId) -> Option<p::Held> {
        let (service, list) = (self.service.get()?, self.admitted.get()?);
        let shard = r.state.shard;
        if self.signed.lock().get(&shard) == Some(&(vote, id)) {
            return None;
        }
        let chain = r.state.log.chain_at(&id).ok().flatten()?;
        let (certificate, signature) =
            service.sign(&held::statement(&list, self.node, shard, &vote, &id, &chain))?;
        let held = held::signed(&vote, &id, &chain, certificate, signature);
        self.signed.lock().insert(shard, (vote, id));
        Some(held)
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
        let Ok(vote) = vote_in(v.vote) else { return refuse_raft("malformed vote") };
        let last = v.last.as_ref().map(log_id_in);
        let bounds = self.bounds();
        if let Err(error) = bounds.vote(&vote).and_then(|()| last.as_ref().map_or(Ok(()), |id| bounds.id(id)))
        {
            return refuse_raft(error.to_string());
        }
        if vote.leader_id.node_id != from.0 {
            return refuse_raft("a request for votes in another node's name");
        }
        if vote.committed {
            return refuse_raft("a request for votes by a leader");
        }
        if let Some(why) = self.refusal(r.state.shard, from, vote.leader_id.term) {
            return refuse_raft(why);
        }
        let mut granted_votes = r.granted_votes.lock().await;
        // The vault that makes the fleet may need more, and asks without the preliminary question.
        let is_made = r.fleet().is_some();
        let outcome = self.peers.timing().outcome(&self.config.raft, 0.0);
        if let Some(until) = r.silence.settled() {
            granted_votes.settled(until);
        }
        let may_have_vote = !is_made
            || granted_votes.is_granted(from, &vote)
            || granted_votes.allow(from, Instant::now(), outcome);
        if v.preliminary {
            return p::raft_answer::Answer::Vote(p::VoteAnswer {
                vote: r.state.log.vote().as_ref().map(vote_out),
                granted: may_have_vote && self.would_vote(r, last.as_ref()),
                last: None,
                voted: None,
            });
        }
        // openraft has no lease for the leader itself. A rooted vault whose log is complete could end every leader by asking for votes without the preliminary question. The
        // answer has this vault's vote, because a candidate in a lower term must learn it.
        if !may_have_vote || (is_made && !self.is_free(r)) {
            let (vote, last) = (r.state.log.vote(), r.state.log.last());
            return p::raft_answer::Answer::Vote(p::VoteAnswer {
                vote: vote.as_ref().map(vote_out),
                granted: false,
                last: last.map(|(id, _)| log_id_out(&id)),
                voted: None,
            });
        }
        let Some(voted) = self.voted(r, &vote) else { return refuse_raft("no boot key yet") };
        match raft.vote(VoteRequest::new(vote, last)).await {
            Ok(answer) => {
                // A vote that is asked for again must not make this vault wait again.
                if answer.vote_granted && !granted_votes.is_granted(from, &vote) {
                    granted_votes.grant(from, vote, Instant::now());
                    r.silence.voted();
                }
                p::raft_answer::Answer::Vote(p::VoteAnswer {
                    vote: Some(vote_out(&answer.vote)),
                    granted: answer.vote_granted,
                    last: answer.last_log_id.as_ref().map(log_id_out),
                    voted: answer.vote_granted.then_some(voted),
                })
            }
            Err(e) => refuse_raft(e.to_string()),
        }
    }
}
