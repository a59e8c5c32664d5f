//! **For the model only** (feature `put-back`, off by default): turns off one rule in this thread. So a test can show that it notices what the rule
//! prevents.

use std::cell::Cell;

/// A rule that can be turned off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// An account lies in one shard.
    Shard,
    /// A snapshot needs the signatures of t regions.
    Certificate,
}

thread_local! {
    static OFF: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// True if the rule is off in this thread.
pub fn is_off(rule: Rule) -> bool {
    OFF.get() == Some(rule)
}

/// The rule is off until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Off(());

impl Off {
    /// Turns off this rule, and no other one.
    pub fn new(rule: Rule) -> Self {
        OFF.set(Some(rule));
        Self(())
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        OFF.set(None);
    }
}
