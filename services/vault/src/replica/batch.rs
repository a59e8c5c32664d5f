//! Batches proposals in front of Raft: all waiting proposals become one entry, within a bound of bytes. openraft syncs the disk once per entry, so batching
//! makes a shard fast. Up to `UNDER_WAY` entries are in flight. Meanwhile new proposals join
//! the next batch.

use std::sync::Arc;
use std::time::Duration;

use bkv_core::batch::Batch;
use bkv_core::encoding::cbor;
use bkv_core::id::{NodeId, Time};
use bkv_core::outcome::{Outcome, Refusal};
use openraft::error::ClientWriteError;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::proposal::{Committed, Proposal, ProposeError, Waiting, stopping};
use super::status::{Phase, ShardStatus};
use crate::peer::Peers;
use crate::raft::sizes::{BATCH, COMMANDS};
use crate::raft::state::State;
use crate::raft::types::{Payload, Raft};

/// Most entries in flight.
const UNDER_WAY: usize = 4;
/// An entry with this many commands shows that many clients are waiting, so the next batch gathers for a moment first. Otherwise a proposal waits only once,
/// behind such a batch.
const BUSY: usize = 4;
const GATHER: Duration = Duration::from_millis(2);
/// How long a proposal waits for a leader just after an election, beside the votes' and the first entry's round trips.
const ELECTION: Duration = Duration::from_millis(200);

/// The outcome of a command for which the state machine returned none, because another version was in force at its entry. The client repeats it.
pub(super) const NOT_APPLIED: Outcome = Outcome::Refused(Refusal::Version);

/// Runs until the sender is gone.
pub(crate) async fn run(
    mut proposals: mpsc::Receiver<Proposal>,
    raft: watch::Receiver<Option<Raft>>,
    mut status: watch::Receiver<ShardStatus>,
    state: State,
    peers: Peers,
    tasks: TaskTracker,
) {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let mut size = 0;
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(p) => p,
            None => match proposals.recv().await {
                Some(p) => p,
                None => return,
            },
        };
        let Ok(permit) = under_way.clone().acquire_owned().await else { return };
        if size >= BUSY {
            sleep(GATHER).await;
        }
        let batch = gather(first, &mut held, || proposals.try_recv().ok());
        size = batch.len();
        let lead = {
            let s = status.borrow_and_update();
            (s.lead, s.leader, s.phase.clone())
        };
        if !lead.0 && lead.1.is_none() {
            // During an election: it will probably end in a moment.
            let _ =
                timeout(peers.timing().limit(ELECTION, 2), status.wait_for(|s| s.lead || s.leader.is_some()))
                    .await;
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
                p.waiting.answer(Err(why.clone()));
            }
            continue;
        };
        let (commands, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|p| (p.command, p.waiting)).unzip();
        let entry = Batch { version: state.encodes(), time: Time(state.clock.now_ms()), commands };
        let payload = Payload(cbor(&entry).into());
        tasks.spawn(async move {
            commit(&raft, payload, waiting).await;
            drop(permit);
        });
    }
}

/// The proposals of the next entry: those that wait, up to the bounds. One that does not fit is held for the entry after.
fn gather(
    first: Proposal,
    held: &mut Option<Proposal>,
    mut next: impl FnMut() -> Option<Proposal>,
) -> Vec<Proposal> {
    let mut bytes = first.size;
    let mut batch = vec![first];
    while batch.len() < COMMANDS
        && let Some(p) = next()
    {
        bytes = bytes.saturating_add(p.size);
        if bytes > BATCH {
            *held = Some(p);
            break;
        }
        batch.push(p);
    }
    batch
}

async fn commit(raft: &Raft, payload: Payload, waiting: Vec<Waiting>) {
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
                w.answer(Ok(Committed { outcome, index, time: applied.time }));
            }
        }
        Err(e) => {
            for w in waiting {
                w.answer(Err(e.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bkv_core::command::{Command, Expire};
    use bkv_core::id::AccountId;

    use super::*;

    fn proposal(size: usize) -> Proposal {
        let command = Command::Expire(Expire { account: AccountId([0; 32]) });
        let (done, _) = tokio::sync::oneshot::channel();
        Proposal { command, size, waiting: Waiting { done, permit: None } }
    }

    /// The sizes of the batches that `sizes` become.
    fn batches(sizes: impl IntoIterator<Item = usize>) -> Vec<Vec<usize>> {
        let mut waiting: VecDeque<Proposal> = sizes.into_iter().map(proposal).collect();
        let (mut held, mut all) = (None, Vec::new());
        while let Some(first) = held.take().or_else(|| waiting.pop_front()) {
            let batch = gather(first, &mut held, || waiting.pop_front());
            all.push(batch.iter().map(|p| p.size).collect());
        }
        all
    }

    /// S50: large proposals never make a large entry, and none is lost or moved.
    #[test]
    fn s50_a_hundred_large_proposals_make_no_large_entry() {
        let sizes: Vec<usize> = (0..100).map(|i| (200 << 10) + i).collect();
        let all = batches(sizes.clone());
        assert!(all.iter().all(|b| b.iter().sum::<usize>() <= BATCH), "{all:?}");
        assert_eq!(all.concat(), sizes);
        assert_eq!(all.len(), 20, "five fit into each");
    }

    #[test]
    fn small_proposals_are_bounded_by_their_number() {
        let all = batches(vec![100; 2 * COMMANDS + 1]);
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [COMMANDS, COMMANDS, 1]);
    }
}
