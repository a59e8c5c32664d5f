//! One timer for all shards of a vault: sends the heartbeats of the shards that it leads and triggers snapshots.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::certify::mark;
use super::context::Context;
use super::handle::Replica;
use super::status::Phase;
use crate::raft::types::Raft;

/// Every so many heartbeats openraft also sends one on each replication stream. A stream whose peer was away notices only then that it is back.
const STREAMS: u32 = 10;
/// A leader that no majority has answered for this long, beside two round trips, takes no proposals and reports that there is no leader. An entry that it only stored itself
/// could otherwise be committed long after the client got an error. The limit is several election times, so that a short pause is not
/// taken for a loss.
const UNHEARD: Duration = Duration::from_millis(1500);

/// Sends a heartbeat of one shard to all voters, at this vault's pace, whatever the distance. A replication stream of openraft has one append on its way: as a heartbeat it would
/// come once in a round trip, and the next entry would have to wait for its answer. A read's confirmation is the same message on a way of its own.
async fn beat(inner: &Context, r: &Replica, raft: Raft, streams: bool) {
    if streams {
        let _ = raft.trigger().heartbeat().await;
    }
    if let Some(place) = r.silence.heartbeat() {
        let silence = r.silence.clone();
        inner.tasks.spawn(async move {
            let sent = Instant::now();
            if raft.get_read_log_id().await.is_ok() {
                silence.majority_heard(sent);
            }
            drop(place);
        });
    }
    r.silence.judge_majority(inner.peers.timing().limit(UNHEARD, 2));
}

/// One timer for all shards that this vault leads.
pub(super) async fn heartbeat(inner: Arc<Context>) {
    let mut tick = tokio::time::interval(Duration::from_millis(inner.config.raft.heartbeat_ms));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut snapshots = Instant::now() + inner.config.snapshot_every();
    let mut beats = 0u32;
    loop {
        tick.tick().await;
        beats = beats.wrapping_add(1);
        let streams = beats.is_multiple_of(STREAMS);
        for r in &inner.replicas {
            r.resume_if_alone();
            let raft = r.raft.borrow().clone();
            // Also while no majority answers: without heartbeats no follower would answer again.
            if let Some(raft) = raft
                && r.raft_leads()
                && r.status.borrow().phase == Phase::Verified
                && !r.is_stepping_down()
            {
                inner.renew_mandate(r);
                beat(&inner, r, raft, streams).await;
            }
        }
        if Instant::now() >= snapshots {
            snapshots = Instant::now() + inner.config.snapshot_every();
            for r in &inner.replicas {
                // openraft's own policy always keeps a few hundred entries, however old. On a quiet shard, the secrets of a destroyed key would stay
                // in them for ever.
                r.purge_snapshotted().await;
                r.snapshot_now().await;
                if r.state.book.newest() < r.applied() {
                    inner.tasks.spawn(mark(inner.clone(), r.clone()));
                }
            }
        }
    }
}
