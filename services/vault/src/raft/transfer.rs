//! Transfers of snapshots: how many a vault sends at once, how long each may take, and how much of the log stays for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::NodeId;
use openraft::{EmptyNode, SnapshotMeta};
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::sizes::ROWS;

/// Most snapshots that a vault sends to one other at once. A region that has lost its disk needs those of all shards, and each row costs a call of the token at both ends. The limit is
/// for each receiver: a rooted one that takes its snapshots as slowly as it may does not delay the others.
const AT_ONCE: usize = 2;
/// How long a snapshot waits for those before it. Its part of the log stays meanwhile.
pub(crate) const QUEUE: Duration = Duration::from_hours(1);
/// How long the log behind a snapshot stays for its receiver once it has the snapshot. It only fetches entries then.
const FOLLOW: Duration = Duration::from_mins(15);
/// Time for the rows of a chunk, on average: both vaults' tokens and the line.
const CHUNK: u64 = 5;
/// The shortest time limit of a whole snapshot.
const SHORTEST: u64 = 60 * 60;
/// The longest.
const LONGEST: u64 = 7 * 24 * 60 * 60;

/// Time limit of a whole snapshot with so many rows. It is read from a view, for which the store keeps all pages that it has replaced since. A receiver that takes each chunk at the last moment
/// would make the file grow for as long as it likes. The next try has a newer view.
pub(crate) fn whole(rows: u64) -> Duration {
    let chunks = rows / (ROWS as u64);
    Duration::from_secs(chunks.saturating_mul(CHUNK).clamp(SHORTEST, LONGEST))
}

/// Runs work that may take long, such as a call of the token for each row, without holding up other tasks.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|h| h.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The snapshots that a vault sends, over all shards. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Transfers(Arc<Mutex<HashMap<NodeId, Arc<Semaphore>>>>);

impl Transfers {
    /// Waits until the next snapshot may be sent to a vault, first come, first served.
    pub(crate) async fn next(&self, to: NodeId) -> Result<OwnedSemaphorePermit, NotNow> {
        let turns = self.0.lock().entry(to).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))).clone();
        let turn = tokio::time::timeout(QUEUE, turns.acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(NotNow::Queue)
    }
}

/// Why a snapshot is not sent now. openraft tries again with the newest one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotNow {
    #[error("the log behind this snapshot may be purged already")]
    Purged,
    #[error("other snapshots are sent to that vault first")]
    Queue,
}

type Meta = SnapshotMeta<u64, EmptyNode>;

/// How much of one shard's log stays for the snapshots that are being sent, and for receivers that fetch the entries behind theirs. Otherwise these entries would leave
/// the log, the receiver would need the next snapshot, and so on for ever. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    next: u64,
    /// The snapshots that are being sent, or whose receivers follow.
    sent: BTreeMap<u64, Sent>,
    /// When the log is purged in spite of them.
    until: Option<Instant>,
    /// The index up to which openraft may purge the log.
    purged: u64,
}

struct Sent {
    meta: Meta,
    /// The receiver that has this snapshot, and when the log is purged in spite of it.
    follows: Option<(NodeId, Instant)>,
}

/// Keeps the log behind a snapshot until it is dropped, or until the receiver that has the snapshot has the entries behind it.
pub(crate) struct Guard {
    kept: Kept,
    number: u64,
}

impl Kept {
    /// Keeps the log behind a snapshot, for `limit` at most.
    pub(crate) fn behind(&self, meta: Meta, now: Instant, limit: Duration) -> Result<Guard, NotNow> {
        let mut inner = self.0.lock();
        if index(&meta) < inner.purged {
            return Err(NotNow::Purged);
        }
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        inner.sent.insert(number, Sent { meta, follows: None });
        inner.until.get_or_insert(now + limit);
        Ok(Guard { kept: self.clone(), number })
    }

    /// A receiver has acknowledged this entry. The log need not stay for it once that is the newest certified one, or a later one.
    pub(crate) fn reached(&self, receiver: NodeId, index: u64, certified: impl FnOnce() -> Option<u64>) {
        let mut inner = self.0.lock();
        let follows = |s: &Sent| s.follows.is_some_and(|(node, _)| node == receiver);
        if inner.sent.values().any(follows) && certified().is_none_or(|c| index >= c) {
            inner.sent.retain(|_, s| !follows(s));
        }
    }

    /// The snapshot up to which openraft may purge the log, if `newest` is the newest one.
    ///
    /// A rooted receiver could have one snapshot after the other sent, each as slowly as possible, and destroyed secrets would stay in the log for ever (S14). So the limit counts from the first of
    /// them, and then the log is purged once in spite of all.
    pub(crate) fn purge_to(&self, newest: Meta, now: Instant) -> Meta {
        let mut inner = self.0.lock();
        inner.sent.retain(|_, s| s.follows.is_none_or(|(_, end)| now < end));
        if inner.sent.is_empty() || inner.until.is_some_and(|until| now >= until) {
            inner.until = None;
            inner.sent.clear();
        }
        let metas = inner.sent.values().map(|s| &s.meta);
        let lowest = metas.min_by_key(|m| index(m)).filter(|m| index(m) < index(&newest));
        let meta = lowest.cloned().unwrap_or(newest);
        inner.purged = inner.purged.max(index(&meta));
        meta
    }
}

impl Guard {
    /// The receiver has the snapshot.
    pub(crate) fn installed(&self, receiver: NodeId, now: Instant) {
        if let Some(sent) = self.kept.0.lock().sent.get_mut(&self.number) {
            sent.follows = Some((receiver, now + FOLLOW));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kept.0.lock().sent.remove(&self.number);
    }
}

fn index(meta: &Meta) -> u64 {
    meta.last_log_id.map_or(0, |id| id.index)
}

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, LogId};

    use super::*;

    const LIMIT: Duration = Duration::from_hours(2);

    fn meta(index: u64) -> Meta {
        let last_log_id = Some(LogId::new(CommittedLeaderId::new(1, 1), index));
        SnapshotMeta { last_log_id, ..Meta::default() }
    }

    /// A transfer that takes longer than the log is kept would otherwise be followed by the next one for ever.
    #[test]
    fn s48_the_log_stays_behind_the_oldest_snapshot_that_is_being_sent() {
        let (kept, now) = (Kept::default(), Instant::now());
        let purge = |newest| index(&kept.purge_to(meta(newest), now));
        assert_eq!(purge(100), 100);
        assert!(kept.behind(meta(99), now, LIMIT).is_err(), "its log is gone: a newer one is sent");
        let first = kept.behind(meta(100), now, LIMIT).unwrap();
        let second = kept.behind(meta(150), now, LIMIT).unwrap();
        assert_eq!(purge(200), 100);
        drop(first);
        assert_eq!(purge(300), 150);
        drop(second);
        assert_eq!(purge(300), 300);
    }

    /// S48: without this the entries could leave the log between the end of the transfer and the receiver's next append.
    #[test]
    fn s48_the_log_stays_until_the_receiver_of_a_snapshot_has_followed() {
        let (kept, now) = (Kept::default(), Instant::now());
        let purge = |newest, now| index(&kept.purge_to(meta(newest), now));
        let guard = kept.behind(meta(100), now, LIMIT).unwrap();
        guard.installed(NodeId(1), now);
        kept.reached(NodeId(1), 199, || Some(200));
        kept.reached(NodeId(2), 200, || Some(200));
        assert_eq!(purge(200, now), 100);
        kept.reached(NodeId(1), 200, || Some(200));
        assert_eq!(purge(200, now), 200);
        // S14: a receiver that never follows.
        let again = kept.behind(meta(200), now, LIMIT).unwrap();
        again.installed(NodeId(1), now);
        assert_eq!(purge(300, now + FOLLOW.checked_sub(Duration::from_secs(1)).unwrap()), 200);
        assert_eq!(purge(300, now + FOLLOW), 300);
        drop((guard, again));
    }

    /// S14: a rooted receiver asks for one snapshot after the other, and never lets one end before the next has begun.
    #[test]
    fn s14_a_receiver_keeps_destroyed_secrets_in_the_log_for_no_longer_than_the_limit() {
        let (kept, start) = (Kept::default(), Instant::now());
        let mut guard = kept.behind(meta(100), start, LIMIT);
        let period = LIMIT / 8;
        for i in 1..8 {
            let now = start + period * i;
            let next = kept.behind(meta(100 + u64::from(i)), now, LIMIT);
            let held = index(&kept.purge_to(meta(1000), now));
            assert!((100..1000).contains(&held), "{held}");
            guard = next;
        }
        assert_eq!(index(&kept.purge_to(meta(1000), start + LIMIT)), 1000);
        assert!(kept.behind(meta(999), start + LIMIT, LIMIT).is_err());
        // A new one counts again, and the end of one that no longer counts changes nothing.
        let again = kept.behind(meta(1000), start + LIMIT, LIMIT);
        drop(guard);
        assert_eq!(index(&kept.purge_to(meta(1100), start + LIMIT + period)), 1000);
        drop(again);
    }

    #[test]
    fn a_large_shard_has_more_time() {
        assert_eq!([0, 1000, u64::MAX].map(|n| whole(n).as_secs()), [SHORTEST, SHORTEST, LONGEST]);
        assert_eq!(whole(10_000 * (ROWS as u64)).as_secs(), 50_000);
    }

    /// S50: a receiver that takes its snapshots as slowly as it may does not delay another one.
    #[tokio::test(start_paused = true)]
    async fn s50_each_receiver_has_its_own_turns() {
        let transfers = Transfers::default();
        let slow = [transfers.next(NodeId(1)).await, transfers.next(NodeId(1)).await];
        assert!(slow.iter().all(Result::is_ok));
        assert!(transfers.next(NodeId(1)).await.is_err(), "the third waits for its turn");
        assert!(transfers.next(NodeId(2)).await.is_ok());
        drop(slow);
        assert!(transfers.next(NodeId(1)).await.is_ok());
    }
}
