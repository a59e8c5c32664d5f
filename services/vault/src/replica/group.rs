//! A shard's Raft group on this vault: starts it once joining allows it, and watches it until it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_core::join::Decision;
use openraft::error::Fatal;
use openraft::{Config, ConfigError, ServerState, SnapshotPolicy};

use super::context::Context;
use super::goals::Goals;
use super::handle::Replica;
use super::join;
use super::status::{Phase, ShardStatus};
use crate::raft::answers::Matched;
use crate::raft::bounds::Bounds;
use crate::raft::later_votes::LaterVotes;
use crate::raft::lifts::Lifts;
use crate::raft::network::Net;
use crate::raft::sizes::ENTRIES_SENT;
use crate::raft::stop::{Stop, StopKind};
use crate::raft::types::{Raft, position};

/// How often a replica that catches up looks whether it has got somewhere.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why a Raft group does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("openraft refuses the timings: {0}")]
    Timings(#[from] ConfigError),
    #[error("Raft does not start: {0}")]
    Raft(#[from] Fatal<u64>),
}

/// Joins one shard, then keeps its status.
pub(super) async fn join_shard(inner: Arc<Context>, replica: Replica) {
    let shard = replica.state.shard;
    let log = replica.state.log.clone();
    let set = |phase: Phase| {
        replica.status.send_if_modified(|s| {
            let changed = s.phase != phase;
            s.phase = phase;
            changed
        });
    };
    if let Some(stop) = log.stopped() {
        tracing::error!(shard, %stop, "this vault does not serve the shard since an earlier start: an operator must look at it");
        set(Phase::from(&stop));
        return;
    }
    replica.find_raise();
    if let Some(why) = replica.left_behind() {
        tracing::error!(shard, why, "this vault does not follow the shard, and keeps its data");
        set(Phase::LeftBehind(why));
        return;
    }
    let (ballot, goals) = loop {
        let Some(list) = inner.admitted.get() else { return };
        if list.node(inner.node).is_none() {
            set(Phase::Halted("this vault is not on the admission list".into()));
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        let bounds = Bounds::at(inner.clock.now_ms());
        let anchored = inner.anchored.load(Ordering::Relaxed);
        let round = join::round(inner.node, anchored, &list, &replica.state, &inner.peers, bounds).await;
        let waits = matches!(round.decision, Decision::Wait { .. });
        for node in round.contradicting.into_iter().filter(|_| !waits) {
            // Term 0 reports the voter, and its Raft messages are still taken: its answer is not signed and is no Raft message.
            inner.contradictions.note(shard, node, 0, "it reports another history than this disk has");
        }
        match round.decision {
            Decision::Verified { ballot } => break (ballot, Vec::new()),
            Decision::CatchUp { ballot, goals } => break (ballot, goals),
            Decision::Quarantine(why) => {
                log.stop(Stop::new(StopKind::Quarantined, why.to_string(), why.acknowledged()));
                if let Some(stop) = log.stopped() {
                    set(Phase::from(&stop));
                }
                return;
            }
            Decision::Wait { missing } => {
                set(Phase::Joining { missing });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    if let Some(vote) = join::vote_of(ballot)
        && let Err(e) = log.adopt(vote).await
    {
        set(Phase::Halted(e.to_string()));
        return;
    }
    let goals = Goals::new(goals, position(log.last().as_ref().map(|l| &l.0)));
    if let Some(until) = goals.until() {
        inner.until.lock().insert(shard, until);
        set(Phase::CatchingUp { until: until.index });
    }
    let raft = match start_raft(&inner, &replica).await {
        Ok(raft) => raft,
        Err(e) => {
            set(Phase::Halted(e.to_string()));
            return;
        }
    };
    replica.raft.send_replace(Some(raft.clone()));
    if goals.until().is_none() {
        set(Phase::Verified);
    }
    watch_raft(&inner, &replica, &raft, goals).await;
}

async fn start_raft(inner: &Arc<Context>, replica: &Replica) -> Result<Raft, StartError> {
    let config = Config {
        cluster_name: format!("bkv-{}", replica.state.shard),
        heartbeat_interval: inner.config.raft.heartbeat_ms,
        election_timeout_min: inner.config.raft.election_min_ms,
        election_timeout_max: inner.config.raft.election_max_ms,
        enable_heartbeat: false, // ours, for all shards at once
        enable_elect: false,     // ours, which follow the network
        snapshot_policy: SnapshotPolicy::LogsSinceLast(inner.config.raft.snapshot_entries),
        max_in_snapshot_log_to_keep: 64,
        purge_batch_size: 256,
        replication_lag_threshold: inner.config.raft.snapshot_entries,
        max_payload_entries: ENTRIES_SENT,
        ..Default::default()
    };
    let config = Arc::new(config.validate()?);
    let state = replica.state.counted(&inner.tasks);
    let net = Net {
        peers: inner.peers.clone(),
        state: state.clone(),
        acknowledged: inner.acknowledged.clone(),
        transfers: inner.transfers.clone(),
        matched: Matched::default(),
        later_votes: LaterVotes::default(),
        overtaken: replica.overtaken.clone(),
        majority: replica.silence.majority(),
        lifts: Lifts::default(),
        mandates: replica.mandates.clone(),
        admitted: inner.admitted.clone(),
        contradictions: inner.contradictions.clone(),
        equivocators: inner.equivocators.clone(),
        signer: inner.signer.clone(),
    };
    let (log, state) = (state.log.clone(), state);
    replica.silence.voted();
    Ok(Raft::new(inner.node.0, config, net, log, state).await?)
}

/// Turns openraft's metrics into status, and ends catching up.
async fn watch_raft(inner: &Arc<Context>, replica: &Replica, raft: &Raft, mut goals: Goals) {
    let mut metrics = raft.metrics();
    let shard = replica.state.shard;
    let mut led = false;
    let (mut majority, mut follows) = (replica.silence.majority(), replica.silence.leader());
    loop {
        let (leader, lead, heard, term, last) = {
            let m = metrics.borrow_and_update();
            let lead = m.state == ServerState::Leader;
            if lead && !led {
                replica.silence.elected();
            }
            let heard = if lead { *majority.borrow_and_update() } else { *follows.borrow_and_update() };
            let leader = m.current_leader.map(NodeId).filter(|_| heard);
            (leader, lead, heard, m.current_term, m.last_log_index.unwrap_or(0))
        };
        if goals.until().is_some() {
            let patience = inner.config.patience;
            goals.advance(replica, &inner.contradictions, patience);
            for voter in goals.doubtful(patience) {
                let bounds = Bounds::at(inner.clock.now_ms());
                let again = join::ask_again(voter, &replica.state, &inner.peers, bounds).await;
                if let Some(goal) = again {
                    goals.replace(goal);
                }
            }
            if let Some(until) = goals.until() {
                inner.until.lock().insert(shard, until);
            } else {
                inner.until.lock().remove(&shard);
                replica.silence.voted();
            }
        }
        if !lead {
            // Raft does not lead here any more, so stepping down is complete.
            replica.end_step_down();
        } else if !led {
            inner.elections.fetch_add(1, Ordering::Relaxed);
        }
        led = lead;
        let phase = match (replica.state.log.stopped(), replica.left_behind(), goals.until()) {
            (Some(stop), ..) => Phase::from(&stop),
            (None, Some(why), _) => Phase::LeftBehind(why),
            (None, None, Some(until)) => Phase::CatchingUp { until: until.index },
            (None, None, None) => Phase::Verified,
        };
        let lead = lead && heard && phase == Phase::Verified && !replica.is_stepping_down();
        let status = ShardStatus { phase, leader, lead, term, applied: replica.applied(), last };
        replica.status.send_if_modified(|s| {
            // Only the indices change with every entry, and no watcher waits for those.
            let woken = (&s.phase, s.leader, s.lead, s.term)
                != (&status.phase, status.leader, status.lead, status.term);
            *s = status;
            woken
        });
        // While it catches up, look again even if nothing changes: a goal that is never reached is given up.
        let look_again = async {
            match goals.until() {
                Some(_) => tokio::time::sleep(LOOK_AGAIN).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { break },
            _ = majority.changed(), if led => {}
            _ = follows.changed(), if !led => {}
            () = look_again => {}
        }
    }
    // openraft has ended this group: because the shard has stopped, or because of a read or write error.
    let stop = replica.state.log.stopped();
    let ended = raft.metrics().borrow().running_state.as_ref().err().map(ToString::to_string);
    let why = format!("shard {shard}: Raft has ended: {}", ended.as_deref().unwrap_or("shut down"));
    replica.status.send_modify(|s| {
        s.lead = false;
        s.phase = stop.as_ref().map_or_else(|| Phase::Halted(why.clone()), Phase::from);
    });
    if stop.is_none() {
        inner.fatal.send_if_modified(|f| f.is_none() && f.replace(why).is_none());
    }
}
