//! Attempts of one account take turns at the leader.
//!
//! A new attempt takes the place of the open one, which then counts as failed. Without turns two devices on which the right password is typed at once would
//! each cost the other a try. So a Begin waits while another attempt of the account is under way, for a short time and behind few others. This is a courtesy
//! to honest devices and no protection: the state machine judges every Begin, and a change of leader forgets the queue.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bkv_core::id::{AccountId, AttemptId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Most attempts of one account that wait. A session waits for one at a time.
const WAITING: usize = 4;
/// How long an attempt has the account to itself, at least. A client stretches the password in this time.
const PLACE: Duration = Duration::from_secs(3);
/// How many round trips it has at least: between Begin and Finish there are three, and the messages of a slow line are repeated.
const ROUND_TRIPS: u32 = 4;
/// The longest place. A client decides how slow its line looks.
const LONGEST_PLACE: Duration = Duration::from_secs(12);
/// How long an attempt waits before the leader answers `BUSY`. A client stops waiting for an answer after 4 s.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The account has too many attempts, or the one before took too long. Nothing was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// How long an attempt on this line has its place.
pub(crate) fn place(round_trip: Duration) -> Duration {
    round_trip.saturating_mul(ROUND_TRIPS).clamp(PLACE, LONGEST_PLACE)
}

/// The turns of all accounts, in the leader's memory.
#[derive(Default)]
pub(crate) struct Turns {
    lines: Mutex<HashMap<AccountId, Line>>,
    changed: Notify,
}

#[derive(Default)]
struct Line {
    /// The attempt under way, and when its place ends.
    holder: Option<(AttemptId, Instant)>,
    /// In the order in which they came.
    waiting: VecDeque<u64>,
    last_ticket: u64,
}

impl Line {
    /// Takes the place if it is free and no earlier attempt waits. Otherwise returns when the holder's place ends.
    fn take(&mut self, ticket: u64, attempt: AttemptId, lasts: Duration, now: Instant) -> Option<Instant> {
        let ends = self.holder.map(|(_, until)| until).filter(|until| *until > now);
        if ends.is_some() || self.waiting.front() != Some(&ticket) {
            return Some(ends.unwrap_or(now + PLACE));
        }
        self.waiting.pop_front();
        self.holder = Some((attempt, now + lasts));
        None
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty() && self.holder.is_none_or(|(_, until)| until <= now)
    }
}

/// A place in a line. Dropping it leaves the line.
struct Ticket<'a> {
    turns: &'a Turns,
    account: AccountId,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.turns.lines.lock().get_mut(&self.account) {
            line.waiting.retain(|t| *t != self.number);
        }
        self.turns.changed.notify_waiters();
    }
}

impl Turns {
    /// Waits until it is this attempt's turn. The attempt that has the place already goes on, and its place is not prolonged.
    pub(crate) async fn take(
        &self,
        account: AccountId,
        attempt: AttemptId,
        lasts: Duration,
    ) -> Result<(), Busy> {
        let patience = Instant::now() + PATIENCE;
        let Some(ticket) = self.enter(account, attempt, Instant::now())? else { return Ok(()) };
        loop {
            // Listen before looking, so that no change is missed in between.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            let ends = {
                let mut lines = self.lines.lock();
                let line = lines.entry(account).or_default();
                line.take(ticket.number, attempt, lasts, now)
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

    /// None if the attempt has the place.
    fn enter(
        &self,
        account: AccountId,
        attempt: AttemptId,
        now: Instant,
    ) -> Result<Option<Ticket<'_>>, Busy> {
        let mut lines = self.lines.lock();
        let line = lines.entry(account).or_default();
        if line.holder.is_some_and(|(holder, until)| holder == attempt && until > now) {
            return Ok(None);
        }
        if line.waiting.len() >= WAITING {
            return Err(Busy);
        }
        line.last_ticket += 1;
        line.waiting.push_back(line.last_ticket);
        Ok(Some(Ticket { turns: self, account, number: line.last_ticket }))
    }

    /// The attempt has ended: the next has its turn.
    pub(crate) fn leave(&self, account: &AccountId, attempt: &AttemptId) {
        if let Some(line) = self.lines.lock().get_mut(account) {
            line.holder.take_if(|(holder, _)| holder == attempt);
        }
        self.changed.notify_waiters();
    }

    /// Removes empty queues.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.lines.lock().retain(|_, line| !line.is_idle(now));
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
        let turns = Arc::new(Turns::default());
        turns.take(ANNA, attempt(0), PLACE).await.unwrap();
        turns.take(ANNA, attempt(0), PLACE).await.expect("a repetition of the holder goes on");
        turns.take(BEN, attempt(9), PLACE).await.expect("another account is another line");
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        for n in 1..=4 {
            let (turns, done) = (turns.clone(), done.clone());
            tokio::spawn(async move {
                turns.take(ANNA, attempt(n), PLACE).await.unwrap();
                done.send(n).unwrap();
            });
            settle().await;
        }
        assert_eq!(turns.take(ANNA, attempt(5), PLACE).await, Err(Busy));
        for n in 0..4 {
            settle().await;
            assert!(order.try_recv().is_err(), "only one has its turn");
            turns.leave(&ANNA, &attempt(n));
            assert_eq!(order.recv().await, Some(n + 1));
        }
        turns.leave(&ANNA, &attempt(4));
        turns.leave(&BEN, &attempt(9));
        turns.sweep();
        assert!(turns.lines.lock().is_empty());
    }

    /// A device that goes away in the middle holds its place for a while only, and repeating its Begin does not prolong it.
    #[tokio::test(start_paused = true)]
    async fn a_place_ends_and_is_not_prolonged() {
        let turns = Turns::default();
        turns.take(ANNA, attempt(0), PLACE).await.unwrap();
        advance(PLACE.saturating_sub(Duration::from_millis(1))).await;
        turns.take(ANNA, attempt(0), PLACE).await.unwrap();
        advance(Duration::from_millis(1)).await;
        turns.take(ANNA, attempt(1), PLACE).await.unwrap();
        let began = Instant::now();
        assert_eq!(turns.take(ANNA, attempt(0), PLACE).await, Err(Busy), "now it waits like any other");
        assert_eq!(began.elapsed(), PATIENCE);
        // The attempt that gave up does not delay those behind it.
        turns.leave(&ANNA, &attempt(1));
        turns.take(ANNA, attempt(2), PLACE).await.unwrap();
    }

    #[test]
    fn a_slow_line_has_four_round_trips_within_reason() {
        let seconds = Duration::from_secs;
        for (round_trip, lasts) in [(0, 3), (1, 4), (2, 8), (60, 12)] {
            assert_eq!(place(seconds(round_trip)), seconds(lasts));
        }
    }
}
