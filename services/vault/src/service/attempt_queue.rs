//! The leader queues the attempts of one account: one holds a lease, the others wait in order.
//!
//! A new attempt supersedes the open one, which then counts as failed. Without a queue two devices on which the right password is typed at once would
//! each cost the other a try. So a Begin waits while another attempt of the account is under way, for a short time and behind few others. This is a courtesy
//! to honest devices and no protection: the state machine judges every Begin, and a change of leader forgets the queue.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bkv_core::id::{AccountId, AttemptId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Most attempts of one account that wait. A session waits with one at a time.
const WAITERS: usize = 4;
/// The shortest lease. The attempt that holds it has the account to itself, and its client stretches the password meanwhile.
const LEASE: Duration = Duration::from_secs(3);
/// The fewest round trips of a lease: between Begin and Finish there are three, and messages on a slow network are repeated.
const ROUND_TRIPS: u32 = 4;
/// The longest lease. A client decides how slow its network looks.
const LONGEST_LEASE: Duration = Duration::from_secs(12);
/// How long an attempt waits before the leader answers `BUSY`. A client stops waiting for an answer after 4 s.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The queue is full, or the attempt waited too long. Nothing was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// The lease of an attempt whose client has this round trip.
pub(crate) fn lease(round_trip: Duration) -> Duration {
    round_trip.saturating_mul(ROUND_TRIPS).clamp(LEASE, LONGEST_LEASE)
}

/// The queues of all accounts, in the leader's memory.
#[derive(Default)]
pub(crate) struct AttemptQueues {
    queues: Mutex<HashMap<AccountId, Queue>>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    /// The attempt that holds the lease, and when the lease ends.
    holder: Option<(AttemptId, Instant)>,
    /// The numbers of the waiters, first come, first served.
    waiters: VecDeque<u64>,
    last_number: u64,
}

impl Queue {
    /// Takes the lease if it is free and this waiter is the first. Otherwise returns when the present lease ends.
    fn acquire(&mut self, waiter: u64, attempt: AttemptId, lease: Duration, now: Instant) -> Option<Instant> {
        let ends = self.holder.map(|(_, until)| until).filter(|until| *until > now);
        if ends.is_some() || self.waiters.front() != Some(&waiter) {
            return Some(ends.unwrap_or(now + LEASE));
        }
        self.waiters.pop_front();
        self.holder = Some((attempt, now + lease));
        None
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.waiters.is_empty() && self.holder.is_none_or(|(_, until)| until <= now)
    }
}

/// A position in a queue. Dropping it leaves the queue.
struct Waiter<'a> {
    queues: &'a AttemptQueues,
    account: AccountId,
    number: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.queues.queues.lock().get_mut(&self.account) {
            queue.waiters.retain(|w| *w != self.number);
        }
        self.queues.changed.notify_waiters();
    }
}

impl AttemptQueues {
    /// Waits until this attempt gets the lease. The attempt that holds it already goes on, and its lease is not prolonged.
    pub(crate) async fn acquire(
        &self,
        account: AccountId,
        attempt: AttemptId,
        lease: Duration,
    ) -> Result<(), Busy> {
        let patience = Instant::now() + PATIENCE;
        let Some(waiter) = self.enqueue(account, attempt, Instant::now())? else { return Ok(()) };
        loop {
            // Listen before looking, so that no change is missed in between.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            let ends = {
                let mut queues = self.queues.lock();
                let queue = queues.entry(account).or_default();
                queue.acquire(waiter.number, attempt, lease, now)
            };
            let Some(ends) = ends else { return Ok(()) };
            if now >= patience {
                return Err(Busy);
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(ends.min(patience)) => {}
            }
        }
    }

    /// None if the attempt holds the lease.
    fn enqueue(
        &self,
        account: AccountId,
        attempt: AttemptId,
        now: Instant,
    ) -> Result<Option<Waiter<'_>>, Busy> {
        let mut queues = self.queues.lock();
        let queue = queues.entry(account).or_default();
        if queue.holder.is_some_and(|(holder, until)| holder == attempt && until > now) {
            return Ok(None);
        }
        if queue.waiters.len() >= WAITERS {
            return Err(Busy);
        }
        queue.last_number += 1;
        queue.waiters.push_back(queue.last_number);
        Ok(Some(Waiter { queues: self, account, number: queue.last_number }))
    }

    /// The attempt has ended: the next waiter gets the lease.
    pub(crate) fn release(&self, account: &AccountId, attempt: &AttemptId) {
        if let Some(queue) = self.queues.lock().get_mut(account) {
            queue.holder.take_if(|(holder, _)| holder == attempt);
        }
        self.changed.notify_waiters();
    }

    /// Removes empty queues.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.queues.lock().retain(|_, queue| !queue.is_idle(now));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;

    const ANNA: AccountId = AccountId([1; 32]);
    const BEN: AccountId = AccountId([2; 32]);

    fn attempt(n: u8) -> AttemptId {
        AttemptId([n; 16])
    }

    /// Lets every task run until it waits.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s50_four_wait_in_order_and_the_fifth_is_told_to_come_again() {
        let queues = Arc::new(AttemptQueues::default());
        queues.acquire(ANNA, attempt(0), LEASE).await.unwrap();
        queues.acquire(ANNA, attempt(0), LEASE).await.expect("a repetition of the holder goes on");
        queues.acquire(BEN, attempt(9), LEASE).await.expect("another account is another queue");
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        for n in 1..=4 {
            let (queues, done) = (queues.clone(), done.clone());
            tokio::spawn(async move {
                queues.acquire(ANNA, attempt(n), LEASE).await.unwrap();
                done.send(n).unwrap();
            });
            settle().await;
        }
        assert_eq!(queues.acquire(ANNA, attempt(5), LEASE).await, Err(Busy));
        for n in 0..4 {
            settle().await;
            assert!(order.try_recv().is_err(), "one attempt at a time holds the lease");
            queues.release(&ANNA, &attempt(n));
            assert_eq!(order.recv().await, Some(n + 1));
        }
        queues.release(&ANNA, &attempt(4));
        queues.release(&BEN, &attempt(9));
        queues.sweep();
        assert!(queues.queues.lock().is_empty());
    }

    /// A device that goes away in the middle holds its lease for a while only, and repeating its Begin does not prolong it.
    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_and_is_not_prolonged() {
        let queues = AttemptQueues::default();
        queues.acquire(ANNA, attempt(0), LEASE).await.unwrap();
        advance(LEASE.saturating_sub(Duration::from_millis(1))).await;
        queues.acquire(ANNA, attempt(0), LEASE).await.unwrap();
        advance(Duration::from_millis(1)).await;
        queues.acquire(ANNA, attempt(1), LEASE).await.unwrap();
        let began = Instant::now();
        assert_eq!(queues.acquire(ANNA, attempt(0), LEASE).await, Err(Busy), "now it waits like any other");
        assert_eq!(began.elapsed(), PATIENCE);
        // The attempt that gave up does not delay those behind it.
        queues.release(&ANNA, &attempt(1));
        queues.acquire(ANNA, attempt(2), LEASE).await.unwrap();
    }

    #[test]
    fn a_slow_network_gets_four_round_trips_within_reason() {
        let seconds = Duration::from_secs;
        for (round_trip, expected) in [(0, 3), (1, 4), (2, 8), (60, 12)] {
            assert_eq!(lease(seconds(round_trip)), seconds(expected));
        }
    }
}
