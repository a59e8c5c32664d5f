//! One timer for all shards of a vault: sends the heartbeats of the shards that it leads and triggers snapshots.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::certify::mark;
use super::context::Context;
use super::status::Phase;

/// One timer for all shards that this vault leads.
pub(super) async fn heartbeat(inner: Arc<Context>) {
    let mut tick = tokio::time::interval(Duration::from_millis(inner.config.raft.heartbeat_ms));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut snapshots = Instant::now() + inner.config.snapshot_every();
    loop {
        tick.tick().await;
        for r in &inner.replicas {
            r.resume_if_alone();
            let raft = r.raft.borrow().clone();
            // Also while no majority answers: without heartbeats no follower would answer again.
            if let Some(raft) = raft
                && r.raft_leads()
                && r.status.borrow().phase == Phase::Verified
                && !r.is_stepping_down()
            {
                let _ = raft.trigger().heartbeat().await;
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
