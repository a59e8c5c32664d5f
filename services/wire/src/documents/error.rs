//! Why a document is refused.

use bkv_core::id::Time;

/// Each names the document or field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Over the size limit.
    #[error("a signed document of {len} bytes; at most {max} are allowed")]
    TooLong {
        /// Given.
        len: usize,
        /// Allowed.
        max: usize,
    },
    /// Not protobuf of the right shape.
    #[error("the {what} does not decode: {why}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// The decoder's error.
        why: String,
    },
    /// The other document.
    #[error("this is a document of kind `{got}`, a `{want}` is needed")]
    Kind {
        /// Needed.
        want: &'static str,
        /// Given.
        got: String,
    },
    /// Too few valid signatures by distinct root keys.
    #[error(
        "the {kind} bears {got} valid root signatures, {want} are needed: have it signed with `bkv ceremony sign`"
    )]
    Signatures {
        /// Which document.
        kind: &'static str,
        /// The root's threshold.
        want: u8,
        /// Found.
        got: usize,
    },
    /// Of another lineage or era.
    #[error("the {kind} is of another fleet than the pinned root's")]
    OtherFleet {
        /// Which document.
        kind: &'static str,
    },
    /// Before its first day.
    #[error("the {kind} is not valid before {} (ms since 1970): is this clock right?", from.0)]
    NotYet {
        /// Which document.
        kind: &'static str,
        /// Its first moment.
        from: Time,
    },
    /// After its last day.
    #[error("the {kind} expired at {} (ms since 1970): the fleet's operator must sign a newer one", since.0)]
    Expired {
        /// Which document.
        kind: &'static str,
        /// Its last moment.
        since: Time,
    },
    /// A field breaks a rule.
    #[error("field `{field}`: {why}")]
    Field {
        /// Which.
        field: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A number lower than one already seen.
    #[error("the {kind} has number {got}, but number {seen} was seen before: an old one is being served")]
    Older {
        /// Which document.
        kind: &'static str,
        /// Seen before.
        seen: u64,
        /// Given.
        got: u64,
    },
}

pub(super) fn field(field: impl Into<String>, why: impl Into<String>) -> DocumentError {
    DocumentError::Field { field: field.into(), why: why.into() }
}
