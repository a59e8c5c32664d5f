//! openraft's network over the peers. Remembers what each peer acknowledged, and reports it to a vault that restarts with an older disk.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bkv_core::encoding::cbor;
use bkv_core::id::NodeId;
use bkv_wire::election;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{
    AnyError, EmptyNode, ErrorSubject, ErrorVerb, OptionalSend, Snapshot, SnapshotMeta, StorageIOError,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answers::{Matched, Untrue};
use super::appended::Signer;
use super::bounds::Bounds;
use super::contradictions::Contradictions;
use super::equivocators::Equivocators;
use super::export::NoSnapshot;
use super::held;
use super::later_votes::LaterVotes;
use super::lifts::Lifts;
use super::mandates::Mandates;
use super::overtaken::Overtaken;
use super::sizes::ROWS;
use super::state::State;
use super::transfer::{Guard, NotNow, QUEUE, Transfers, blocking, whole};
use super::types::{
    LogId, Malformed, TypeConfig, Vote, ballot, entry_out, log_id_in, log_id_out, unproven, vote_in, vote_out,
};
use crate::peer::{Admitted, Body, PeerError, Peers};

/// Time limit of an append without entries, beside its round trip.
const HEARTBEAT: Duration = Duration::from_millis(300);
/// Time limit of an append with entries, beside its round trip. A follower's disk may need longer than a heartbeat interval. The connection itself detects a dead peer.
const APPEND: Duration = Duration::from_secs(2);
/// Time limit of a request for a vote, beside its round trip.
pub(crate) const VOTE: Duration = Duration::from_millis(500);
/// Time limit of one chunk of a snapshot.
const CHUNK: Duration = Duration::from_secs(10);

/// (shard, peer) → the highest signed acknowledgement of the peer to this vault since this vault started.
#[derive(Clone, Default)]
pub(crate) struct Acknowledged(Arc<Mutex<HashMap<(u16, NodeId), p::Held>>>);

impl Acknowledged {
    pub(crate) fn get(&self, shard: u16, node: NodeId) -> Option<p::Held> {
        self.0.lock().get(&(shard, node)).cloned()
    }

    /// Keeps it, if it can be what a vault signs. The signature itself is unchecked: one that does not hold protects nobody but its sender from its own past.
    fn saw(&self, shard: u16, node: NodeId, held: &p::Held, bounds: Bounds) {
        let Some(held) = held::copied(held, bounds) else { return };
        let place = |h: &p::Held| h.id.map(|id| (id.term, id.index));
        let mut all = self.0.lock();
        let known = all.entry((shard, node)).or_default();
        if place(&held) > place(known) {
            *known = held;
        }
    }
}

#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) peers: Peers,
    pub(crate) state: State,
    pub(crate) acknowledged: Acknowledged,
    pub(crate) transfers: Transfers,
    pub(crate) matched: Matched,
    pub(crate) later_votes: LaterVotes,
    pub(crate) overtaken: Overtaken,
    /// As a leader: whether a majority has answered of late.
    pub(crate) majority: watch::Receiver<bool>,
    pub(crate) mandates: Mandates,
    pub(crate) lifts: Lifts,
    pub(crate) admitted: Admitted,
    pub(crate) contradictions: Contradictions,
    pub(crate) equivocators: Equivocators,
    pub(crate) signer: Signer,
}

impl RaftNetworkFactory<TypeConfig> for Net {
    type Network = Conn;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Conn {
        Conn { net: self.clone(), target: NodeId(target), kept: Mutex::default() }
    }
}

pub(crate) struct Conn {
    net: Net,
    target: NodeId,
    /// Keeps the log for the receiver of the last snapshot. It ends with this vault's leadership, because openraft then drops the connection. The mutex only makes the
    /// future `Sync`.
    kept: Mutex<Option<Guard>>,
}

/// The target is excluded.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Excluded(String);

type Failed = RPCError<u64, EmptyNode, RaftError<u64>>;

fn failed(e: &PeerError) -> Failed {
    match e {
        PeerError::Late(_) => RPCError::Network(NetworkError::new(e)),
        // openraft then waits before it tries again.
        _ => RPCError::Unreachable(Unreachable::new(e)),
    }
}

fn garbled<E: std::error::Error + 'static>(e: &E) -> Failed {
    RPCError::Network(NetworkError::new(e))
}

impl Conn {
    /// A vote in an answer. One that is out of bounds never reaches Raft.
    fn vote_of(&self, v: Option<p::Vote>) -> Result<Vote, AnyError> {
        let vote = vote_in(v).map_err(|e| AnyError::new(&e))?;
        Bounds::at(self.net.state.clock.now_ms()).vote(&vote).map_err(|e| AnyError::new(&e))?;
        Ok(vote)
    }

    /// Judges the vote in a peer's answer to what this vault asked under its own vote. The peer counts as unreachable if the vote must not reach Raft.
    fn obey(&self, asked: &Vote, theirs: &Vote) -> Result<(), Unreachable> {
        let state = &self.net.state;
        // Raft ignores the answer if this vault has a later vote by now.
        let is_over = state.log.vote().is_some_and(|own| own.leader_id > asked.leader_id);
        if is_over || theirs.leader_id <= asked.leader_id {
            return Ok(());
        }
        let untrue = if theirs.leader_id.node_id == asked.leader_id.node_id {
            // openraft would take this vault for the candidate or leader of a term in which it has never asked for a vote.
            Untrue::OwnVote
        } else if !asked.committed
            || !*self.net.majority.borrow()
            || self.net.later_votes.may_obey(self.target, *theirs, Instant::now())
        {
            return Ok(());
        } else {
            Untrue::LaterVotes
        };
        // Term 0 names the peer. Its requests for votes are still taken: an honest peer that missed much asks with a later vote, too.
        self.net.contradictions.note(state.shard, self.target, 0, &untrue.to_string());
        Err(Unreachable::new(&untrue))
    }

    /// Refuses to exchange anything with a vault that has signed two histories. Its acknowledgement or vote could count for a history that it denies elsewhere.
    fn may_call(&self) -> Result<(), Excluded> {
        let refusal = self.net.equivocators.refusal(self.net.state.shard, self.target);
        refusal.map_or(Ok(()), |why| Err(Excluded(why)))
    }

    /// Sends a call and waits for the answer. `floor` is the time that it needs beside the way there and back.
    async fn raft(
        &self,
        call: p::raft_call::Call,
        floor: Duration,
    ) -> Result<p::raft_answer::Answer, Failed> {
        self.may_call().map_err(|e| RPCError::Unreachable(Unreachable::new(&e)))?;
        let call = p::RaftCall { id: 0, shard: u32::from(self.net.state.shard), call: Some(call) };
        let deadline = self.net.peers.deadline(floor, 1);
        self.net.peers.raft(self.target, call, deadline).await.map_err(|e| failed(&e))
    }

    /// This vault's signature on its log up to this entry.
    fn signature(&self, vote: &Vote, last: &LogId) -> Result<p::Appended, Malformed> {
        let state = &self.net.state;
        let signed = self.net.signer.appended(state.shard, &state.log, vote, last);
        signed.ok_or(Malformed("append: no boot key, or this vault has ceased to lead"))
    }

    fn message(
        &self,
        rpc: &AppendEntriesRequest<TypeConfig>,
        appended: Option<p::Appended>,
        votes: Vec<p::Voted>,
    ) -> p::AppendEntries {
        let chain = rpc.prev_log_id.as_ref().and_then(|id| self.net.state.log.chain_at(id).ok().flatten());
        p::AppendEntries {
            vote: Some(vote_out(&rpc.vote)),
            previous: rpc.prev_log_id.as_ref().map(log_id_out),
            previous_chain: chain.map(|c| c.0.to_vec().into()).unwrap_or_default(),
            entries: rpc.entries.iter().map(entry_out).collect(),
            committed: rpc.leader_commit.as_ref().map(log_id_out),
            appended,
            votes,
        }
    }

    /// Sends an append. A follower that has started since it saw this leader's mandate gets it again.
    async fn append(
        &self,
        rpc: &AppendEntriesRequest<TypeConfig>,
        appended: Option<p::Appended>,
    ) -> Result<p::AppendAnswer, Failed> {
        let (mandates, vote) = (&self.net.mandates, ballot(Some(&rpc.vote)));
        let limit = if rpc.entries.is_empty() { HEARTBEAT } else { APPEND };
        let votes = mandates.to_show(vote, self.target);
        let is_shown = votes.is_empty();
        let answer = self.send_append(self.message(rpc, appended.clone(), votes), limit).await?;
        let unelected = |a: &p::AppendAnswer| matches!(a.result, Some(R::Unelected(_)));
        mandates.is_shown(vote, self.target, !unelected(&answer));
        if !is_shown || !unelected(&answer) {
            return Ok(answer);
        }
        let answer = self.send_append(self.message(rpc, appended, mandates.votes(vote)), limit).await?;
        mandates.is_shown(vote, self.target, !unelected(&answer));
        Ok(answer)
    }

    /// A follower's stop was lifted, and it lacks entries that it has acknowledged. The next leader sends them again.
    fn begin_anew(&self, vote: &Vote) -> Result<AppendEntriesResponse<u64>, Unreachable> {
        if !self.net.lifts.may_begin_anew(self.target, vote.leader_id.term, Instant::now()) {
            return Err(Unreachable::new(&Untrue::Lifted));
        }
        let (shard, node) = (self.net.state.shard, self.target.0);
        tracing::warn!(shard, node, "an election begins, so that a vault whose stop was lifted can follow");
        Ok(self.end_term(vote))
    }

    /// A later vote makes this leader a follower, which may stand again. openraft has no other way to end a term.
    fn end_term(&self, vote: &Vote) -> AppendEntriesResponse<u64> {
        AppendEntriesResponse::HigherVote(Vote::new(vote.leader_id.term.saturating_add(1), self.target.0))
    }

    async fn send_append(
        &self,
        append: p::AppendEntries,
        limit: Duration,
    ) -> Result<p::AppendAnswer, Failed> {
        match self.raft(p::raft_call::Call::Append(append), limit).await? {
            p::raft_answer::Answer::Append(answer) => Ok(answer),
            _ => Err(garbled(&Malformed("append answer"))),
        }
    }

    /// Keeps a peer's signature on the vote that it has granted. A vote without one would count for openraft, and leave a leader whom no other vault can follow.
    fn keep_vote(&self, vote: &Vote, voted: Option<&p::Voted>) -> Result<(), Untrue> {
        let (state, vote) = (&self.net.state, ballot(Some(vote)));
        let list = self.net.admitted.get();
        let voter = |v: &p::Voted| election::voter(v, state.shard, vote, list.as_deref()?).ok();
        let voted = voted.filter(|v| voter(v) == Some(self.target)).ok_or(Untrue::Unsigned)?;
        self.net.mandates.granted(vote, self.target, voted);
        Ok(())
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        meta: SnapshotMeta<u64, EmptyNode>,
    ) -> Result<(SnapshotResponse<u64>, Guard), StreamingError<TypeConfig, Fatal<u64>>> {
        let state = &self.net.state;
        self.may_call().map_err(|e| StreamingError::Unreachable(Unreachable::new(&e)))?;
        let unreachable = |e: &PeerError| StreamingError::Unreachable(Unreachable::new(e));
        let again = |why: NotNow| StreamingError::Unreachable(Unreachable::new(&why));
        // openraft then believes that the receiver has this snapshot, even if a newer one was sent. So the log is kept from this snapshot on.
        let rows = state.book.newest_checkpoint().map_or(0, |c| c.rows);
        let kept = state.kept.behind(meta, Instant::now(), QUEUE + whole(rows)).map_err(again)?;
        let _turn = self.net.transfers.next(self.target).await.map_err(again)?;
        let export = state.export().map_err(|e| self.no_snapshot(e))?;
        let mut chunk = p::SnapshotChunk {
            shard: u32::from(state.shard),
            vote: Some(vote_out(&vote)),
            head: cbor(&export.head).into(),
            stream: rand::random(),
            votes: self.net.mandates.votes(ballot(Some(&vote))),
            ..Default::default()
        };
        let mut after = None;
        let stream = chunk.stream;
        let end = Instant::now() + whole(export.head.checkpoint().rows);
        for number in 0u32.. {
            chunk.number = number;
            let rows = blocking(|| state.export_rows(&export, after, ROWS));
            let rows = rows.map_err(|e| self.no_snapshot(e))?;
            after = rows.last().map(|r| r.id);
            chunk.last = rows.len() < ROWS;
            chunk.rows = rows.iter().map(|r| cbor(r).into()).collect();
            let last = chunk.last;
            let limit = limit(Instant::now(), end).ok_or_else(|| {
                StreamingError::Network(NetworkError::new(&Malformed("snapshot: too slow")))
            })?;
            let answer = self
                .net
                .peers
                .call(self.target, Body::Snapshot(chunk), limit)
                .await
                .map_err(|e| unreachable(&e))?;
            let Body::SnapshotAnswer(answer) = answer else {
                return Err(StreamingError::Network(NetworkError::new(&Malformed("snapshot answer"))));
            };
            let theirs =
                self.vote_of(answer.vote).map_err(|e| StreamingError::Network(NetworkError::new(&e)))?;
            self.obey(&vote, &theirs).map_err(StreamingError::Unreachable)?;
            if last || theirs > vote {
                let theirs = if theirs.leader_id > vote.leader_id { unproven(theirs) } else { theirs };
                return Ok((SnapshotResponse::new(theirs), kept));
            }
            chunk = p::SnapshotChunk {
                shard: u32::from(state.shard),
                vote: Some(vote_out(&vote)),
                stream,
                ..Default::default()
            };
        }
        Err(StreamingError::Network(NetworkError::new(&Malformed("snapshot: too many chunks"))))
    }

    /// openraft tries again later. Without a view of a certified checkpoint the leader makes a new one.
    fn no_snapshot(&self, why: NoSnapshot) -> StreamingError<TypeConfig, Fatal<u64>> {
        let state = &self.net.state;
        state.book.counts.unsent.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(shard = state.shard, error = %why, "no snapshot can be sent");
        match why {
            NoSnapshot::Store(e) => {
                let e = StorageIOError::new(ErrorSubject::Store, ErrorVerb::Read, AnyError::new(&e));
                StreamingError::StorageError(e.into())
            }
            NoSnapshot::NoView => {
                state.book.want();
                StreamingError::Unreachable(Unreachable::new(&why))
            }
            NoSnapshot::NoSecrets => StreamingError::Unreachable(Unreachable::new(&why)),
        }
    }
}

impl RaftNetwork<TypeConfig> for Conn {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failed> {
        if self.net.mandates.has_ended(ballot(Some(&rpc.vote))) {
            return Ok(self.end_term(&rpc.vote));
        }
        let last = rpc.entries.last().map(|e| e.log_id).or(rpc.prev_log_id);
        let signed = rpc.entries.last().map(|last| self.signature(&rpc.vote, &last.log_id));
        let a = self.append(&rpc, signed.transpose().map_err(|e| garbled(&e))?).await?;
        if let Some(held) = &a.held {
            let bounds = Bounds::at(self.net.state.clock.now_ms());
            self.net.acknowledged.saw(self.net.state.shard, self.target, held, bounds);
        }
        let result = a.result.ok_or_else(|| garbled(&Malformed("append answer")))?;
        let higher = |v| self.vote_of(Some(v)).ok();
        let judged = self.net.matched.judge(self.target, &rpc, last, &result, higher);
        if let (Ok(AppendEntriesResponse::Success), Some(last)) = (&judged, last) {
            let state = &self.net.state;
            state.kept.reached(self.target, last.index, || state.book.certified_index());
        }
        let state = &self.net.state;
        if judged == Err(Untrue::Conflict) && Lifts::holds(&state.verifier, state.shard, self.target, &a.lift)
        {
            return self.begin_anew(&rpc.vote).map_err(RPCError::Unreachable);
        }
        let answer = judged.map_err(|why| {
            let term = rpc.vote.leader_id.term;
            self.net.contradictions.note(self.net.state.shard, self.target, term, &why.to_string());
            // openraft then waits before it tries again.
            RPCError::Unreachable(Unreachable::new(&why))
        })?;
        let AppendEntriesResponse::HigherVote(theirs) = &answer else { return Ok(answer) };
        self.obey(&rpc.vote, theirs).map_err(RPCError::Unreachable)?;
        Ok(AppendEntriesResponse::HigherVote(unproven(*theirs)))
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, _: RPCOption) -> Result<VoteResponse<u64>, Failed> {
        let call = p::VoteRequest {
            vote: Some(vote_out(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(log_id_out),
            preliminary: false,
        };
        let answer = self.raft(p::raft_call::Call::Vote(call), VOTE).await?;
        let p::raft_answer::Answer::Vote(a) = answer else { return Err(garbled(&Malformed("vote answer"))) };
        let vote = self.vote_of(a.vote).map_err(|e| garbled(&e))?;
        self.obey(&rpc.vote, &vote).map_err(RPCError::Unreachable)?;
        if vote.leader_id > rpc.vote.leader_id {
            // openraft would end the candidacy. A rooted vault could do that to every candidate before an honest voter has written its vote.
            let bounds = Bounds::at(self.net.state.clock.now_ms());
            self.net.overtaken.note(self.target, vote, bounds, Instant::now());
            return Ok(VoteResponse::new(rpc.vote, None, false));
        }
        if a.granted
            && let Err(why) = self.keep_vote(&rpc.vote, a.voted.as_ref())
        {
            self.net.contradictions.note(self.net.state.shard, self.target, 0, &why.to_string());
            return Err(RPCError::Unreachable(Unreachable::new(&why)));
        }
        Ok(VoteResponse::new(vote, a.last.as_ref().map(log_id_in), a.granted))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let last = snapshot.meta.last_log_id;
        *self.kept.get_mut() = None;
        let (sent, kept) = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot.meta) => sent?,
        };
        // openraft takes any other answer for an installed snapshot.
        if sent.vote <= vote {
            self.net.matched.saw(&vote, self.target, last);
            kept.installed(self.target, Instant::now());
            *self.kept.get_mut() = Some(kept);
        }
        Ok(sent)
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(Duration::from_millis(100)))
    }
}

/// When the next chunk must have been answered. None once the whole snapshot takes too long.
fn limit(now: Instant, end: Instant) -> Option<Instant> {
    (now < end).then(|| end.min(now + CHUNK))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S48: a receiver that takes each chunk at the last moment gets no more of them after the time limit of the whole.
    #[test]
    fn s48_a_slow_receiver_does_not_keep_a_view_for_hours() {
        let began = Instant::now();
        let end = began + whole(0);
        let (mut now, mut chunks) = (began, 0);
        while let Some(limit) = limit(now, end) {
            assert!(limit <= now + CHUNK && limit <= end);
            (now, chunks) = (limit, chunks + 1);
        }
        assert_eq!((now, chunks), (end, 360));
    }
}
