//! Bounds on the numbers in Raft's messages. Without them one message could end a shard for good: nobody can lead after the last term, and no entry follows
//! the last index.

use super::types::{LogId, Vote};

/// Highest index. At a million entries a second a log needs nine years to reach it.
const HIGHEST_INDEX: u64 = 1 << 48;
/// Terms that are possible at any time.
const FIRST_TERMS: u64 = 1 << 20;
/// Terms that become possible in each second. Honest vaults call at most five elections a second.
const TERMS_A_SECOND: u64 = 64;

/// A number that no honest vault can have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfBounds {
    #[error("term {0} is higher than possible at this time")]
    Term(u64),
    #[error("index {0} is higher than possible")]
    Index(u64),
}

/// The bounds at one moment.
///
/// The highest term grows with this vault's own clock, and depends on nothing else. So a refusal ends by itself, and a vault that has called elections alone for
/// days is still understood. A bound relative to the own term would let a rooted vault drive two honest ones apart until they refuse each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    highest_term: u64,
}

impl Bounds {
    pub(crate) const fn at(now_ms: u64) -> Self {
        Self { highest_term: (now_ms / 1000).saturating_mul(TERMS_A_SECOND).saturating_add(FIRST_TERMS) }
    }

    pub(crate) const fn term(self, term: u64) -> Result<(), OutOfBounds> {
        if term > self.highest_term { Err(OutOfBounds::Term(term)) } else { Ok(()) }
    }

    pub(crate) const fn vote(self, vote: &Vote) -> Result<(), OutOfBounds> {
        self.term(vote.leader_id.term)
    }

    /// True if a vault whose clock is a minute behind does not accept this vote.
    pub(crate) const fn is_near_highest(self, vote: &Vote) -> bool {
        vote.leader_id.term > self.highest_term.saturating_sub(60 * TERMS_A_SECOND)
    }

    pub(crate) fn position(self, term: u64, index: u64) -> Result<(), OutOfBounds> {
        self.term(term)?;
        if index > HIGHEST_INDEX { Err(OutOfBounds::Index(index)) } else { Ok(()) }
    }

    pub(crate) fn id(self, id: &LogId) -> Result<(), OutOfBounds> {
        self.position(id.leader_id.term, id.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn a_region_that_called_elections_alone_for_a_month_is_understood() {
        let month = 30 * 24 * 3600;
        let alone = 5 * month;
        // Even if the fleet was founded at the epoch of the clock, and though the reader's clock is an hour behind.
        assert_eq!(Bounds::at(0).term(FIRST_TERMS), Ok(()));
        assert_eq!(Bounds::at((month - 3600) * 1000).term(alone), Ok(()));
    }

    #[test]
    fn a_refusal_ends_by_itself() {
        let highest = Bounds::at(NOW).highest_term;
        assert_eq!(Bounds::at(NOW).term(highest), Ok(()));
        assert_eq!(Bounds::at(NOW).term(highest + 64), Err(OutOfBounds::Term(highest + 64)));
        assert_eq!(Bounds::at(NOW + 1000).term(highest + 64), Ok(()));
        assert!(Bounds::at(u64::MAX).term(u64::MAX).is_err());
    }

    #[test]
    fn a_vault_that_is_a_minute_behind_accepts_what_is_not_near_the_highest_term() {
        let (bounds, behind) = (Bounds::at(NOW), Bounds::at(NOW - 60_000));
        for term in [1, behind.highest_term, behind.highest_term + 1, bounds.highest_term] {
            assert_eq!(bounds.is_near_highest(&Vote::new(term, 1)), behind.term(term).is_err(), "{term}");
        }
    }

    #[test]
    fn no_index_reaches_the_end() {
        assert_eq!(Bounds::at(NOW).position(1, HIGHEST_INDEX), Ok(()));
        assert_eq!(Bounds::at(NOW).position(1, u64::MAX), Err(OutOfBounds::Index(u64::MAX)));
    }
}
