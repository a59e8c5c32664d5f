//! How long a replica has heard nothing: as a follower from its leader, as a leader from a majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Most heartbeats of a shard on their way. Without a bound a hung disk or a cut line would gather them.
const HEARTBEATS: usize = 16;
/// A leader that was heard for this long has settled: its election succeeded.
const SETTLED: Duration = Duration::from_secs(5);
/// The longest pause between two appends within that time. Heartbeats come ten times a second.
const PAUSE: Duration = Duration::from_secs(2);

/// When a replica was heard last, and by whom. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Silence(Arc<Inner>);

struct Inner {
    times: Mutex<Times>,
    /// As a leader: whether a majority has answered of late.
    majority: watch::Sender<bool>,
    /// As a follower: whether its leader was heard of late.
    leader: watch::Sender<bool>,
    /// Heartbeats that may still be sent.
    heartbeats: Arc<Semaphore>,
    /// Whether this replica may become leader by itself.
    stands: AtomicBool,
}

#[derive(Clone, Copy)]
struct Times {
    /// The last append of a leader that Raft took.
    leader: Option<Instant>,
    /// The first of these appends that came without a long pause.
    led_since: Instant,
    /// The last vote, for itself or for another.
    vote: Instant,
    /// As a leader: the start of the newest heartbeat that a majority has answered.
    majority: Instant,
    /// As a candidate: when it may ask the others again.
    ask: Instant,
}

impl Default for Silence {
    fn default() -> Self {
        let now = Instant::now();
        Self(Arc::new(Inner {
            times: Mutex::new(Times { leader: None, led_since: now, vote: now, majority: now, ask: now }),
            majority: watch::Sender::new(true),
            leader: watch::Sender::new(false),
            heartbeats: Arc::new(Semaphore::new(HEARTBEATS)),
            stands: AtomicBool::new(true),
        }))
    }
}

impl Silence {
    pub(super) fn leader_heard(&self) {
        let (mut times, now) = (self.0.times.lock(), Instant::now());
        if times.leader.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE) {
            times.led_since = now;
        }
        times.leader = Some(now);
        set(&self.0.leader, true);
    }

    /// The last append of a leader, or of leaders one after the other, if appends came for long enough before it.
    pub(super) fn settled(&self) -> Option<Instant> {
        let t = *self.0.times.lock();
        t.leader.filter(|at| at.saturating_duration_since(t.led_since) >= SETTLED)
    }

    /// Records whether the leader was heard within this time. A follower that is left alone starts no election, so Raft goes on naming the leader that is gone.
    pub(super) fn judge_leader(&self, within: Duration) {
        // Under the lock, so that an append that comes meanwhile is not forgotten.
        let times = self.0.times.lock();
        set(&self.0.leader, times.leader.is_some_and(|at| at.elapsed() < within));
    }

    pub(super) fn leader(&self) -> watch::Receiver<bool> {
        self.0.leader.subscribe()
    }

    /// This replica has voted, or Raft has just started here.
    pub(super) fn voted(&self) {
        self.0.times.lock().vote = Instant::now();
    }

    /// A majority has answered a heartbeat that was sent at `sent`.
    pub(super) fn majority_heard(&self, sent: Instant) {
        let mut times = self.0.times.lock();
        times.majority = times.majority.max(sent);
    }

    /// Records whether a majority has answered a heartbeat that was sent within this time.
    pub(super) fn judge_majority(&self, within: Duration) {
        let heard = self.0.times.lock().majority.elapsed() < within;
        set(&self.0.majority, heard);
    }

    /// This replica has just become leader: a majority has voted for it.
    pub(super) fn elected(&self) {
        self.majority_heard(Instant::now());
        self.0.majority.send_replace(true);
    }

    pub(super) fn majority(&self) -> watch::Receiver<bool> {
        self.0.majority.subscribe()
    }

    /// A place for a heartbeat, None if too many are on their way.
    pub(super) fn heartbeat(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        self.0.heartbeats.clone().try_acquire_owned().ok()
    }

    /// True if no leader was heard within the lease.
    pub(super) fn is_free(&self, lease: Duration) -> bool {
        self.0.times.lock().leader.is_none_or(|at| at.elapsed() >= lease)
    }

    /// True if a follower has waited long enough for its leader and for the outcome of its last vote.
    pub(super) fn is_over(&self, patience: Duration, outcome: Duration) -> bool {
        let t = *self.0.times.lock();
        t.leader.is_none_or(|at| at.elapsed() >= patience)
            && t.vote.elapsed() >= outcome
            && Instant::now() >= t.ask
    }

    /// True if this replica has neither voted nor heard a leader since then.
    pub(super) fn lasts_since(&self, since: Instant) -> bool {
        let t = *self.0.times.lock();
        t.vote <= since && t.leader.is_none_or(|at| at <= since)
    }

    /// The others are asked now. They are not asked again before `until`.
    pub(super) fn ask_not_before(&self, until: Instant) {
        self.0.times.lock().ask = until;
    }

    pub(super) fn stand(&self, stands: bool) {
        self.0.stands.store(stands, Ordering::Relaxed);
    }

    pub(super) fn stands(&self) -> bool {
        self.0.stands.load(Ordering::Relaxed)
    }
}

fn set(known: &watch::Sender<bool>, now: bool) {
    known.send_if_modified(|known| std::mem::replace(known, now) != now);
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_heard_ends_the_silence() {
        let silence = Silence::default();
        assert!(silence.is_free(SECOND), "no leader was ever heard");
        advance(SECOND).await;
        assert!(silence.is_over(5 * SECOND, SECOND));
        silence.leader_heard();
        assert!(!silence.is_free(SECOND) && !silence.is_over(2 * SECOND, SECOND));
        advance(SECOND).await;
        assert!(silence.is_free(SECOND) && !silence.is_over(2 * SECOND, SECOND));
        advance(SECOND).await;
        assert!(silence.is_over(2 * SECOND, SECOND));
        silence.voted();
        assert!(!silence.is_over(2 * SECOND, SECOND), "the candidate may win");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_settles_by_appends_without_a_long_pause() {
        let silence = Silence::default();
        for _ in 0..4 {
            advance(SECOND).await;
            silence.leader_heard();
        }
        assert_eq!(silence.settled(), None);
        advance(PAUSE).await;
        silence.leader_heard();
        advance(SECOND).await;
        silence.leader_heard();
        assert_eq!(silence.settled(), None, "the pause was long");
        for _ in 0..4 {
            advance(SECOND).await;
            silence.leader_heard();
        }
        let last = Instant::now();
        advance(SECOND).await;
        assert_eq!(silence.settled(), Some(last));
    }

    /// A candidate that asked before it voted would depose the leader that it has just elected.
    #[tokio::test(start_paused = true)]
    async fn a_vote_or_a_leader_ends_what_was_asked_before() {
        let silence = Silence::default();
        let asked = Instant::now();
        advance(SECOND).await;
        assert!(silence.lasts_since(asked));
        silence.voted();
        assert!(!silence.lasts_since(asked) && silence.lasts_since(Instant::now()));
        let asked = Instant::now();
        advance(SECOND).await;
        silence.leader_heard();
        assert!(!silence.lasts_since(asked));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_is_left_alone_knows_no_leader() {
        let silence = Silence::default();
        let leader = silence.leader();
        assert!(!*leader.borrow(), "no leader was ever heard");
        silence.leader_heard();
        assert!(*leader.borrow());
        silence.judge_leader(SECOND);
        assert!(*leader.borrow());
        advance(SECOND).await;
        silence.judge_leader(SECOND);
        assert!(!*leader.borrow());
        silence.leader_heard();
        assert!(*leader.borrow());
    }

    /// Heartbeats overlap: the answer to an earlier one may come after that to a later one.
    #[tokio::test(start_paused = true)]
    async fn a_leader_knows_since_when_no_majority_answers() {
        let silence = Silence::default();
        let start = Instant::now();
        advance(SECOND).await;
        silence.majority_heard(Instant::now());
        silence.majority_heard(start);
        silence.judge_majority(SECOND);
        assert!(*silence.majority().borrow());
        advance(SECOND).await;
        silence.judge_majority(SECOND);
        assert!(!*silence.majority().borrow());
        silence.elected();
        assert!(*silence.majority().borrow());
    }
}
