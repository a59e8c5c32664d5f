//! A shard's Raft group on this vault: starts it once joining allows it, and watches it until it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_core::join::{Decision, LogPosition};
use openraft::error::Fatal;
use openraft::{Config, ConfigError, ServerState, SnapshotPolicy};

use super::context::Context;
use super::handle::Replica;
use super::join;
use super::status::{Phase, ShardStatus};
use crate::raft::bounds::Bounds;
use crate::raft::network::Net;
use crate::raft::sizes::ENTRIES_SENT;
use crate::raft::types::{Raft, position};

/// A leader that no majority has answered for this long takes no proposals and reports that there is no leader. An entry that it only stored itself
/// could otherwise be committed long after the client got an error. The limit is several election times, so that a short pause is not
/// taken for a loss.
const UNHEARD_MS: u64 = 1500;

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
    let (ballot, goal) = loop {
        let Some(list) = inner.admitted.get() else { return };
        let voters: Vec<NodeId> = list.members.iter().map(|m| m.node).collect();
        if !voters.contains(&inner.node) {
            set(Phase::Halted("this vault is not on the admission list".into()));
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        match join::round(shard, inner.node, &voters, &log, &inner.peers, Bounds::at(inner.clock.now_ms()))
            .await
        {
            Decision::Verified { ballot } => break (ballot, None),
            Decision::CatchUp { ballot, until } => break (ballot, Some(until)),
            Decision::Quarantine(why) => {
                tracing::error!(shard, %why, "quarantined: this vault never serves the shard from this disk");
                set(Phase::Quarantined(why.to_string()));
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
    if let Some(goal) = goal {
        inner.until.lock().insert(shard, goal);
        set(Phase::CatchingUp { until: goal.index });
    }
    let raft = match start_raft(&inner, &replica, goal.is_none()).await {
        Ok(raft) => raft,
        Err(e) => {
            set(Phase::Halted(e.to_string()));
            return;
        }
    };
    replica.raft.send_replace(Some(raft.clone()));
    if goal.is_none() {
        set(Phase::Verified);
    }
    watch_raft(&inner, &replica, &raft, goal).await;
}

async fn start_raft(inner: &Arc<Context>, replica: &Replica, elect: bool) -> Result<Raft, StartError> {
    let config = Config {
        cluster_name: format!("bkv-{}", replica.state.shard),
        heartbeat_interval: inner.config.raft.heartbeat_ms,
        election_timeout_min: inner.config.raft.election_min_ms,
        election_timeout_max: inner.config.raft.election_max_ms,
        enable_heartbeat: false, // ours, for all shards at once
        enable_elect: elect,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(inner.config.raft.snapshot_entries),
        max_in_snapshot_log_to_keep: 64,
        purge_batch_size: 256,
        replication_lag_threshold: inner.config.raft.snapshot_entries,
        max_payload_entries: ENTRIES_SENT,
        ..Default::default()
    };
    let config = Arc::new(config.validate()?);
    let state = replica.state.counted(&inner.tasks);
    let net =
        Net { peers: inner.peers.clone(), state: state.clone(), acknowledged: inner.acknowledged.clone() };
    let (log, state) = (state.log.clone(), state);
    Ok(Raft::new(inner.node.0, config, net, log, state).await?)
}

/// Turns openraft's metrics into status, and ends catching up.
async fn watch_raft(inner: &Arc<Context>, replica: &Replica, raft: &Raft, mut goal: Option<LogPosition>) {
    let mut metrics = raft.metrics();
    let shard = replica.state.shard;
    let mut led = false;
    loop {
        let (leader, lead, heard, term, last) = {
            let m = metrics.borrow_and_update();
            let lead = m.state == ServerState::Leader;
            let heard = !lead || m.millis_since_quorum_ack.is_none_or(|ms| ms < UNHEARD_MS);
            let leader = m.current_leader.map(NodeId).filter(|_| heard);
            (leader, lead, heard, m.current_term, m.last_log_index.unwrap_or(0))
        };
        if goal.is_some_and(|g| position(replica.state.log.last().as_ref().map(|l| &l.0)) >= g) {
            goal = None;
            inner.until.lock().remove(&shard);
            raft.runtime_config().elect(true);
        }
        if !lead {
            // Raft does not lead here any more, so stepping down is complete.
            replica.stay();
        } else if !led {
            inner.elections.fetch_add(1, Ordering::Relaxed);
        }
        led = lead;
        let phase = match (replica.state.log.halted(), goal) {
            (Some(why), _) => Phase::Halted(why),
            (None, Some(g)) => Phase::CatchingUp { until: g.index },
            (None, None) => Phase::Verified,
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
        if metrics.changed().await.is_err() {
            break;
        }
    }
    // openraft has ended this group: because of a contradiction, which an operator must look at, or because of a read or write error.
    let halted = replica.state.log.halted();
    let ended = raft.metrics().borrow().running_state.as_ref().err().map(ToString::to_string);
    let why = halted.clone().unwrap_or_else(|| {
        format!("shard {shard}: Raft has ended: {}", ended.as_deref().unwrap_or("shut down"))
    });
    replica.status.send_modify(|s| {
        s.lead = false;
        s.phase = Phase::Halted(why.clone());
    });
    if halted.is_none() {
        inner.fatal.send_if_modified(|f| f.is_none() && f.replace(why).is_none());
    }
}
