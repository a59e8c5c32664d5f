//! The part of an append that Raft gets to see. What this replica has applied is settled: what the sender claims about it is cut off, because openraft would
//! take a committed position that it does not have for one that it has.

use crate::raft::types::{Entry, LogId};

/// An append, as it came or as it is left.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Append {
    /// The entry before the first one.
    pub(super) previous: Option<LogId>,
    /// Entries, in order.
    pub(super) entries: Vec<Entry>,
    /// The last entry that the sender calls committed.
    pub(super) committed: Option<LogId>,
}

impl Append {
    /// Cuts off what is applied here. `held` is the id at an index of this replica's log.
    pub(super) fn cut(mut self, applied: Option<LogId>, held: impl Fn(u64) -> Option<LogId>) -> Self {
        let settled = applied.map_or(0, |a| a.index);
        if applied.is_some() && self.previous.is_none_or(|p| p.index < settled) {
            self.entries.retain(|e| e.log_id.index > settled);
            self.previous = applied;
        }
        // The position is taken from the sender, the id from what this replica has or gets now.
        let last = self.entries.last().map(|e| e.log_id).or(self.previous);
        self.committed = self.committed.and_then(|c| match last {
            Some(last) if c.index >= last.index => Some(last),
            _ if c.index <= settled => applied,
            _ => {
                self.entries.iter().map(|e| e.log_id).find(|id| id.index == c.index).or_else(|| held(c.index))
            }
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, EntryPayload};
    use proptest::prelude::*;

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(term, 1), index)
    }

    fn entries(term: u64, from: u64, to: u64) -> Vec<Entry> {
        (from..=to).map(|i| Entry { log_id: id(term, i), payload: EntryPayload::Blank }).collect()
    }

    /// A log of term 1 up to 20.
    fn held(index: u64) -> Option<LogId> {
        (index <= 20).then(|| id(1, index))
    }

    #[test]
    fn an_honest_append_stays_as_it_is() {
        let next =
            Append { previous: Some(id(1, 20)), entries: entries(1, 21, 23), committed: Some(id(1, 21)) };
        assert_eq!(next.clone().cut(Some(id(1, 15)), held), next);
        let heartbeat = Append { previous: Some(id(1, 18)), entries: vec![], committed: Some(id(1, 17)) };
        assert_eq!(heartbeat.clone().cut(Some(id(1, 15)), held), heartbeat);
        let first = Append { previous: None, entries: entries(1, 0, 2), committed: None };
        assert_eq!(first.clone().cut(None, |_| None), first);
    }

    #[test]
    fn what_is_applied_is_cut_off() {
        let late =
            Append { previous: Some(id(1, 10)), entries: entries(1, 11, 18), committed: Some(id(1, 12)) };
        let cut =
            Append { previous: Some(id(1, 15)), entries: entries(1, 16, 18), committed: Some(id(1, 15)) };
        assert_eq!(late.cut(Some(id(1, 15)), held), cut);
    }

    proptest! {
        /// S49: whatever the sender claims, a committed id is one that this replica has or gets now, and never goes back behind what is applied.
        #[test]
        fn s49_a_committed_position_is_always_one_that_is_there(
            previous in prop::option::of((0u64..4, 0u64..40)),
            count in 0u64..6,
            term in 0u64..4,
            committed in prop::option::of((0u64..9, 0u64..99)),
            applied in 0u64..=20,
        ) {
            let first = previous.map_or(0, |(_, i)| i + 1);
            let entries = if count == 0 { vec![] } else { entries(term, first, first + count - 1) };
            let append = Append { previous: previous.map(|(t, i)| id(t, i)), entries, committed: committed.map(|(t, i)| id(t, i)) };
            let cut = append.cut(Some(id(1, applied)), held);
            let there: Vec<LogId> =
                (0..=20).filter_map(held).chain(cut.previous).chain(cut.entries.iter().map(|e| e.log_id)).collect();
            prop_assert!(cut.previous.is_some_and(|p| p.index >= applied));
            prop_assert!(cut.entries.iter().all(|e| e.log_id.index > applied));
            if let Some(c) = cut.committed {
                prop_assert!(there.contains(&c), "{c}");
                prop_assert!(c.index >= applied);
            }
        }
    }
}
