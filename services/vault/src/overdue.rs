//! Which accounts whose deadline has passed get an `Expire` next.
//!
//! A replica refuses an `Expire` of an account that it does not have or that lies in another shard, and one before the deadline by entry time. Proposed again
//! every half second, a few dozen of such accounts would starve all other accounts. So a refused account waits for a minute.

use std::collections::HashMap;
use std::time::Duration;

use bkv_core::id::{AccountId, ShardId};
use tokio::time::Instant;

/// Most accounts of a shard at once.
const MOST: usize = 64;
/// How long a refused account waits for its next turn.
const AGAIN: Duration = Duration::from_mins(1);

/// What was refused lately, in the memory of this process.
#[derive(Default)]
pub(crate) struct Overdue(HashMap<(ShardId, AccountId), Instant>);

impl Overdue {
    /// The accounts whose turn it is. `due` lists up to so many accounts whose deadline has passed.
    pub(crate) fn next(
        &mut self,
        shard: ShardId,
        now: Instant,
        due: impl FnOnce(usize) -> Vec<AccountId>,
    ) -> Vec<AccountId> {
        self.0.retain(|_, until| *until > now);
        let waiting = self.0.keys().filter(|(s, _)| *s == shard).count();
        let all = due(MOST.saturating_add(waiting));
        all.into_iter().filter(|id| !self.0.contains_key(&(shard, *id))).take(MOST).collect()
    }

    /// A replica refused the account's `Expire`.
    pub(crate) fn refused(&mut self, shard: ShardId, account: AccountId, now: Instant) {
        self.0.insert((shard, account), now + AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(2);

    fn ids(range: std::ops::Range<u8>) -> Vec<AccountId> {
        range.map(|n| AccountId([n; 32])).collect()
    }

    fn due(all: &[AccountId]) -> impl FnOnce(usize) -> Vec<AccountId> + '_ {
        |most| all.iter().take(most).copied().collect()
    }

    /// S50: accounts whose Expire is always refused do not keep others waiting.
    #[tokio::test]
    async fn s50_refused_expiries_starve_nobody() {
        let (mut overdue, now) = (Overdue::default(), Instant::now());
        let all = ids(0..150);
        let first = overdue.next(SHARD, now, due(&all));
        assert_eq!(first, ids(0..64));
        for id in &first {
            overdue.refused(SHARD, *id, now);
        }
        assert_eq!(overdue.next(SHARD, now, due(&all)), ids(64..128), "the others have their turn");
        assert_eq!(overdue.next(ShardId(1), now, due(&all)), ids(0..64), "another shard's are others");
        assert_eq!(overdue.next(SHARD, now + AGAIN, due(&all)), ids(0..64), "and those again, later");
        assert!(overdue.0.is_empty());
    }
}
