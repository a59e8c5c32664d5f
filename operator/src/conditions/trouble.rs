//! One thing that a pass waits for.

use super::Check;

/// A check that does not hold, on which object, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the pass waits for. It also decides who can end the wait.
    pub check: Check,
    /// The object, region or field that the check is about.
    pub target: String,
    /// What is wrong and what to do, for people.
    pub message: String,
}

impl Trouble {
    /// A trouble with `target`.
    pub fn new(check: Check, target: impl Into<String>, message: impl Into<String>) -> Self {
        Self { check, target: target.into(), message: message.into() }
    }

    /// Only a person can end it.
    pub const fn hard(&self) -> bool {
        self.check.hard()
    }
}
