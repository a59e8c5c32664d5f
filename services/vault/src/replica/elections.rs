//! Elections. openraft's own timers are fixed when a group starts, so this task has the timers of all shards, and they follow the network.
//!
//! A follower that has lost patience with its leader first asks the others whether they would vote for it. So a vault that only lost its own connection, or that measures a
//! shorter round trip than the others, ends no term of a leader whom a majority hears.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_wire::proto::peer as p;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use openraft::ServerState;
use openraft::raft::VoteRequest;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::context::Context;
use super::handle::Replica;
use super::status::Phase;
use crate::raft::network::VOTE;
use crate::raft::types::{LogId, Raft, Vote, log_id_out, vote_in, vote_out};

/// How often the timers are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Pause after the others have refused, or have not answered.
const PAUSE: Duration = Duration::from_millis(100);

/// One timer for all shards.
pub(super) async fn elections(inner: Arc<Context>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draws: Vec<f64> = inner.replicas.iter().map(|_| rand::random()).collect();
    loop {
        tick.tick().await;
        let timing = inner.peers.timing();
        for (r, draw) in inner.replicas.iter().zip(&mut draws) {
            r.silence.judge_leader(timing.patience(&inner.config.raft, 1.0));
            let Some(raft) = r.raft().filter(|_| may_stand(r)) else { continue };
            let timings = &inner.config.raft;
            let over = r.silence.is_over(timing.patience(timings, *draw), timing.outcome(timings, *draw));
            if is_alone(&raft, inner.node) || over {
                *draw = rand::random();
                r.silence.ask_not_before(Instant::now() + timing.limit(VOTE, 1) + PAUSE);
                inner.tasks.spawn(campaign(inner.clone(), r.clone(), raft));
            }
        }
    }
}

fn may_stand(r: &Replica) -> bool {
    r.silence.stands()
        && !r.is_stepping_down()
        && !r.raft_leads()
        && r.status.borrow().phase == Phase::Verified
}

/// True for the only voter. It needs to wait for nobody.
fn is_alone(raft: &Raft, me: NodeId) -> bool {
    let metrics = raft.metrics();
    let m = metrics.borrow();
    let mut voters = m.membership_config.membership().voter_ids();
    m.state == ServerState::Follower && voters.next() == Some(me.0) && voters.next().is_none()
}

/// Asks the others, and starts an election if a majority would vote for this vault. If it has voted for another one meanwhile, it waits for the outcome of that vote.
async fn campaign(inner: Arc<Context>, r: Replica, raft: Raft) {
    let asked = Instant::now();
    let won = would_win(&inner, &r, &raft).await;
    // Held until this vault stands: meanwhile it grants nobody a vote, whom it would depose at once.
    let _granting = r.granted_votes.lock().await;
    if won && may_stand(&r) && r.silence.lasts_since(asked) {
        r.silence.voted();
        r.silence.ask_not_before(Instant::now());
        if let Some(vote) = r.overtaken.latest().filter(|vote| Some(*vote) > r.state.log.vote()) {
            // As if its node had asked for it. Raft then stands in the term behind it, and no voter that named it refuses that.
            let _ = raft.vote(VoteRequest::new(vote, r.state.log.last().map(|l| l.0))).await;
        }
        let _ = raft.trigger().elect().await;
    } else {
        r.silence.ask_not_before(Instant::now() + PAUSE);
    }
}

/// True once a majority of each configuration would vote for this vault.
async fn would_win(inner: &Context, r: &Replica, raft: &Raft) -> bool {
    let (configs, term) = {
        let metrics = raft.metrics();
        let m = metrics.borrow();
        (m.membership_config.membership().get_joint_config().clone(), m.vote.leader_id.term)
    };
    let me = inner.node.0;
    if !configs.iter().any(|voters| voters.contains(&me)) {
        return false;
    }
    let vote = Vote::new(term.saturating_add(1), me);
    let last = r.state.log.last().map(|l| log_id_out(&l.0));
    let ask = p::VoteRequest { vote: Some(vote_out(&vote)), last, preliminary: true };
    let shard = u32::from(r.state.shard);
    let deadline = inner.peers.deadline(VOTE, 1);
    let excluded = |n: u64| inner.equivocators.refusal(r.state.shard, NodeId(n)).is_some();
    let others = configs.iter().flatten().copied().filter(|n| *n != me && !excluded(*n));
    let others: BTreeSet<u64> = others.collect();
    let mut answers: FuturesUnordered<_> = others
        .into_iter()
        .map(|node| {
            let call = p::RaftCall { id: 0, shard, call: Some(p::raft_call::Call::Vote(ask)) };
            async move { (node, inner.peers.raft(NodeId(node), call, deadline).await) }
        })
        .collect();
    let mut granted = BTreeSet::from([me]);
    let wins = |granted: &BTreeSet<u64>| {
        configs.iter().all(|voters| voters.intersection(granted).count() * 2 > voters.len())
    };
    while !wins(&granted) {
        match answers.next().await {
            Some((node, Ok(p::raft_answer::Answer::Vote(a)))) => {
                if let Ok(vote) = vote_in(a.vote)
                    && vote.leader_id.node_id != me
                {
                    r.overtaken.note(NodeId(node), vote, inner.bounds(), Instant::now());
                }
                if a.granted {
                    granted.insert(node);
                }
            }
            Some(_) => {}
            None => return false,
        }
    }
    true
}

impl Context {
    /// Whether this vault would help a candidate with this log to be elected. Nothing changes by the question. Terms are not compared: a candidate in a lower term learns the
    /// higher one from the answer to its real request. If it were refused here, and the vault with the higher term had the shorter log, no vault could lead.
    pub(super) fn would_vote(&self, r: &Replica, last: Option<&LogId>) -> bool {
        let newest = r.state.log.last().map(|l| l.0);
        self.is_free(r) && last >= newest.as_ref()
    }

    /// Whether this vault needs another leader: it hears none, and does not lead with a majority itself.
    pub(super) fn is_free(&self, r: &Replica) -> bool {
        let leads = r.raft_leads() && !r.is_stepping_down() && *r.silence.majority().borrow();
        !leads && r.silence.is_free(self.peers.timing().lease(&self.config.raft))
    }
}
