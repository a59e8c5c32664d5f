//! Keys of the issuer whose tokens other regions have just refused, though they are valid here: those regions have not fetched the key yet, or can't. A Begin with such a token
//! would be charged, and too few regions would evaluate. In the leader's memory.

use std::collections::HashMap;
use std::time::Duration;

use bkv_core::document::Admission;
use bkv_core::id::Slot;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a refusal is remembered. A region asks the issuer for an unknown key at most once in this time.
const REMEMBERED: Duration = Duration::from_secs(10);

/// (slot of the region, id of the key) → when the region refused it.
#[derive(Default)]
pub(crate) struct RefusedKeys(Mutex<HashMap<(Slot, String), Instant>>);

impl RefusedKeys {
    /// A region has refused a token of this key.
    pub(crate) fn refused(&self, slot: Slot, key: &str, now: Instant) {
        let mut all = self.0.lock();
        all.retain(|_, at| now < *at + REMEMBERED);
        all.insert((slot, key.to_owned()), now);
    }

    /// True if no region has refused a key: the common case, in which a caller need not read a token's key.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// True if so many regions have refused this key that fewer than t are left. Fewer liars than that refuse nothing.
    pub(crate) fn leave_too_few(&self, key: &str, list: &Admission, now: Instant) -> bool {
        let all = self.0.lock();
        let refuses = |slot: Slot| all.get(&(slot, key.to_owned())).is_some_and(|at| now < *at + REMEMBERED);
        let left = list.members.iter().filter(|m| !refuses(m.slot)).count();
        left < usize::from(list.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_list::list;

    /// S49: one region that refuses every key keeps nobody out, and what it said is soon forgotten.
    #[test]
    fn s49_one_region_that_refuses_a_key_stops_nothing_and_two_do_for_a_moment() {
        let (keys, list, now) = (RefusedKeys::default(), list(3), Instant::now());
        keys.refused(Slot(2), "k", now);
        keys.refused(Slot(2), "k", now);
        assert!(!keys.leave_too_few("k", &list, now));
        keys.refused(Slot(3), "k", now);
        assert!(keys.leave_too_few("k", &list, now));
        assert!(!keys.leave_too_few("other", &list, now));
        assert!(!keys.leave_too_few("k", &list, now + REMEMBERED));
        keys.refused(Slot(1), "other", now + REMEMBERED);
        assert_eq!(keys.0.lock().len(), 1);
    }
}
