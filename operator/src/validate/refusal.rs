//! What is wrong with a resource, and how to correct it.

use std::fmt;

use crate::conditions::Reason;

/// An invalid field. The operator leaves the fleet as it is until the field is corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field: `spec.regions[1].storage.size`.
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

/// Collects refusals, so that people see all of them at once.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Adds a refusal. Returns `None`, in place of the value.
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
                format!("{number} is out of range: must be {least} to {most}"),
            );
        }
    }

    /// All of them.
    pub(super) fn into_list(self) -> Vec<Refusal> {
        self.0
    }

    /// Nothing was refused.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
