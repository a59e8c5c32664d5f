//! What one person can know about the failed tries that the vaults count for them.

/// The number of failed tries lies between `low` and `high + late`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Belief {
    low: u32,
    high: u32,
    /// Attempts without an outcome. The vaults may have counted each, or may count it later.
    late: u32,
}

impl Belief {
    /// The most failed tries that the vaults can have counted.
    pub(super) fn most(&self) -> u32 {
        self.high + self.late
    }

    /// A right password was accepted.
    pub(super) fn succeeded(&mut self) {
        (self.low, self.high) = (0, 0);
    }

    /// An attempt with the right password ended without an outcome.
    pub(super) fn unfinished_success(&mut self) {
        self.low = 0;
        self.late += 1;
    }

    /// An attempt with a wrong password ended without an outcome.
    pub(super) fn unfinished_failure(&mut self) {
        self.late += 1;
    }

    /// The vaults say that `count` tries have failed, with the one that ends now.
    pub(super) fn failed(&mut self, count: u32) -> Result<(), String> {
        self.low += 1;
        self.high += 1;
        self.observed(count)
    }

    /// The vaults say that `count` tries have failed.
    pub(super) fn observed(&mut self, count: u32) -> Result<(), String> {
        if !(self.low..=self.most()).contains(&count) {
            return Err(format!("{count} failed tries, but {} to {} were made", self.low, self.most()));
        }
        self.late -= count.saturating_sub(self.high);
        (self.low, self.high) = (count, count);
        Ok(())
    }
}

#[test]
fn a_try_that_was_refilled_or_counted_twice_is_noticed() {
    let mut belief = Belief::default();
    belief.failed(1).unwrap();
    assert!(belief.clone().failed(1).is_err(), "refilled");
    assert!(belief.clone().failed(3).is_err(), "counted twice");
    belief.failed(2).unwrap();
    belief.succeeded();
    assert!(belief.observed(1).is_err(), "not given back");
    belief.observed(0).unwrap();
}

#[test]
fn an_attempt_without_an_outcome_counts_at_most_once() {
    let mut belief = Belief::default();
    belief.failed(1).unwrap();
    belief.unfinished_failure();
    let mut not_yet = belief.clone();
    not_yet.failed(2).unwrap();
    not_yet.clone().observed(3).unwrap();
    assert!(not_yet.observed(4).is_err());
    belief.failed(3).unwrap();
    assert!(belief.observed(4).is_err(), "it is counted already");
    belief.unfinished_success();
    belief.clone().observed(0).unwrap();
    belief.clone().observed(4).unwrap();
    assert!(belief.observed(5).is_err());
}
