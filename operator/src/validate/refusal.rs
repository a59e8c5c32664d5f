//! What is wrong with a resource, in words that a person can act on.

use std::fmt;

/// A field that can't be used. The fleet is left as it is until it is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which: `spec.regions[1].storage.size`.
    pub field: String,
    /// A constant of [`reason`].
    pub reason: &'static str,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Why a field is refused.
pub mod reason {
    /// Not a name of the kind that is needed.
    pub const INVALID_NAME: &str = "InvalidName";
    /// Two of our objects would have one name.
    pub const NAME_COLLISION: &str = "NameCollision";
    /// No Kubernetes quantity, or too little.
    pub const INVALID_QUANTITY: &str = "InvalidQuantity";
    /// No length of time.
    pub const INVALID_PERIOD: &str = "InvalidPeriod";
    /// Outside what is possible.
    pub const OUT_OF_RANGE: &str = "OutOfRange";
    /// None or several of alternatives.
    pub const EXACTLY_ONE: &str = "ExactlyOne";
    /// Two fields that don't go together.
    pub const CONFLICT: &str = "Conflict";
    /// A URL, path or image that can't be one.
    pub const INVALID_VALUE: &str = "InvalidValue";
    /// A secret where it would be seen.
    pub const SECRET_IN_PLAIN_SIGHT: &str = "SecretInPlainSight";
    /// Comes with a later release.
    pub const NOT_SUPPORTED: &str = "NotSupported";
}

/// Gathers refusals, so that a person sees all of them at once and not one after another.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Refusal>);

impl Findings {
    /// One more. Gives `None`, for a value that is not to be had.
    pub(super) fn refuse<T>(
        &mut self,
        field: impl Into<String>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Option<T> {
        self.0.push(Refusal { field: field.into(), reason, message: message.into() });
        None
    }

    /// Refuses unless `good`.
    pub(super) fn want(&mut self, good: bool, field: &str, reason: &'static str, message: &str) {
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
                reason::OUT_OF_RANGE,
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
