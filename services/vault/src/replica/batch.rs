//! Batches proposals in front of Raft: all waiting proposals become one entry. openraft syncs the disk once per entry, so batching makes a shard
//! fast. A few entries are in flight at once. While they are, the next batch grows.

use std::sync::Arc;
use std::time::Duration;

use bkv_core::command::Batch;
use bkv_core::effect::{Outcome, Refusal};
use bkv_core::encoding::cbor;
use bkv_core::id::{NodeId, Time};
use openraft::error::ClientWriteError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::proposal::{Committed, Proposal, ProposeError, stopping};
use super::status::{Phase, ShardStatus};
use crate::env::Clock;
use crate::raft::types::{Payload, Raft};

/// Most commands in one entry.
const MOST: usize = 256;
/// Most entries in flight.
const UNDER_WAY: usize = 4;
/// An entry with this many commands shows that many clients are waiting, so the next batch gathers for a moment first. A single proposal never waits.
const BUSY: usize = 4;
const GATHER: Duration = Duration::from_millis(2);
/// How long a proposal waits for a leader just after an election.
const ELECTION: Duration = Duration::from_millis(200);

/// The answer to a command that reached no shard because decoding failed.
const NOT_APPLIED: Outcome = Outcome::Refused(Refusal::NotInitialised);

/// Runs until the sender is gone.
pub(crate) async fn run(
    mut proposals: mpsc::Receiver<Proposal>,
    raft: watch::Receiver<Option<Raft>>,
    mut status: watch::Receiver<ShardStatus>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
) {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let mut size = 0;
    while let Some(first) = proposals.recv().await {
        let Ok(permit) = under_way.clone().acquire_owned().await else { return };
        if size >= BUSY {
            sleep(GATHER).await;
        }
        let mut batch = vec![first];
        while batch.len() < MOST
            && let Ok(p) = proposals.try_recv()
        {
            batch.push(p);
        }
        size = batch.len();
        let lead = {
            let s = status.borrow_and_update();
            (s.lead, s.leader, s.phase.clone())
        };
        if !lead.0 && lead.1.is_none() {
            // During an election: it will probably end in a moment.
            let _ = timeout(ELECTION, status.wait_for(|s| s.lead || s.leader.is_some())).await;
        }
        let (leads, leader) = {
            let s = status.borrow();
            (s.lead, s.leader)
        };
        let raft = raft.borrow().clone().filter(|_| leads);
        let Some(raft) = raft else {
            let why = match lead.2 {
                Phase::Halted(why) | Phase::Quarantined(why) => ProposeError::Halted(why),
                _ => ProposeError::NotLeader(leader),
            };
            for p in batch {
                let _ = p.done.send(Err(why.clone()));
            }
            continue;
        };
        let (commands, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|p| (p.command, p.done)).unzip();
        let entry = Batch { time: Time(clock.now_ms()), commands };
        let payload = Payload(cbor(&entry).into());
        tasks.spawn(async move {
            commit(&raft, payload, waiting).await;
            drop(permit);
        });
    }
}

async fn commit(
    raft: &Raft,
    payload: Payload,
    waiting: Vec<oneshot::Sender<Result<Committed, ProposeError>>>,
) {
    let result = match raft.client_write(payload).await {
        Ok(r) => Ok((r.data, r.log_id.index)),
        Err(openraft::error::RaftError::APIError(ClientWriteError::ForwardToLeader(f))) => {
            Err(ProposeError::NotLeader(f.leader_id.map(NodeId)))
        }
        Err(e) => {
            tracing::warn!(error = %e, "an entry could not be written");
            Err(stopping())
        }
    };
    match result {
        Ok((applied, index)) => {
            let mut outcomes = applied.outcomes.into_iter();
            for w in waiting {
                let outcome = outcomes.next().unwrap_or(NOT_APPLIED);
                let _ = w.send(Ok(Committed { outcome, index, time: applied.time }));
            }
        }
        Err(e) => {
            for w in waiting {
                let _ = w.send(Err(e.clone()));
            }
        }
    }
}
