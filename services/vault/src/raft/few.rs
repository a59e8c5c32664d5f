//! What may happen only a few times a minute.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_mins(1);

/// At most `N` in each minute that begins at any time.
#[derive(Debug, Default)]
pub(super) struct Few<const N: usize>(VecDeque<Instant>);

impl<const N: usize> Few<N> {
    /// True if there may be one more now.
    pub(super) fn has(&self, now: Instant) -> bool {
        let of_late = |at: &&Instant| now.saturating_duration_since(**at) < WINDOW;
        self.0.iter().filter(of_late).count() < N
    }

    /// Counts one more.
    pub(super) fn count(&mut self, now: Instant) {
        self.0.push_back(now);
        if self.0.len() > N {
            self.0.pop_front();
        }
    }

    /// Forgets what happened until then.
    pub(super) fn forget(&mut self, until: Instant) {
        self.0.retain(|at| *at > until);
    }

    /// Counts one more, if there may be one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let has = self.has(now);
        if has {
            self.count(now);
        }
        has
    }
}
