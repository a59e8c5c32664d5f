//! What is wrong with a resource, in words that a person can act on.

use std::fmt;

use crate::conditions::Reason;

/// A field that can't be used. The fleet is left as it is until it is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which: `spec.regions[1].storage.size`.
    pub field: String,
    /// Its reason: one of the condition `Accepted`.
    pub reason: Reason,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Gathers refusals, so that a person sees all of them at once and not one after another.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Refusal>);

impl Findings {
    /// One more. Gives `None`, for a value that is not to be had.
    pub(super) fn refuse<T>(
        &mut self,
        field: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Option<T> {
        self.0.push(Refusal { field: field.into(), reason, message: message.into() });
        None
    }

    /// Refuses unless `good`.
    pub(super) fn want(&mut self, good: bool, field: &str, reason: Reason, message: &str) {
        if !good {
            self.refuse::<()>(field, reason, message);
        }
    }

    /// Refuses unless `number` is in the range.
    pub(super) fn range<T: Copy + PartialOrd + fmt::Display>(
        &mut self,
        field: &str,
        number: T,
        (least, most): (T, T),
    ) {
        if number < least || number > most {
            self.refuse::<()>(
                field,
                Reason::OutOfRange,
                format!("{number} is not possible: {least} to {most}"),
            );
        }
    }

    /// All of them.
    pub(super) fn into_refusals(self) -> Vec<Refusal> {
        self.0
    }

    /// Nothing was refused.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
