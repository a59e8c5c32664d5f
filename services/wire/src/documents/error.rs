//! Why a document is refused.

use bkv_core::id::Time;

/// Why a document is refused. Each variant names the document or field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The document exceeds the size limit.
    #[error("the signed document has {len} bytes, but at most {max} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are not the expected protobuf message.
    #[error("the {what} does not decode: {why}")]
    Malformed {
        /// The part that does not decode.
        what: &'static str,
        /// The decoder's error.
        why: String,
    },
    /// The document is of the other kind.
    #[error("the document is of kind `{got}`, but `{want}` is needed")]
    Kind {
        /// The needed kind.
        want: &'static str,
        /// The document's kind.
        got: String,
    },
    /// The body has more in it than this version reads.
    #[error(
        "the {kind} has fields that this version does not know, so they can't be shown: use a `bkv` of the version that wrote it"
    )]
    NotWhole {
        /// Which document.
        kind: &'static str,
    },
    /// Too few valid signatures by distinct root keys.
    #[error("the {kind} has {got} valid root signatures, and the root needs {want}")]
    Signatures {
        /// Which document.
        kind: &'static str,
        /// The root's threshold.
        want: u8,
        /// Number of valid signatures.
        got: usize,
    },
    /// The document is for another lineage or era.
    #[error("the {kind} belongs to another fleet than the pinned root")]
    OtherFleet {
        /// Which document.
        kind: &'static str,
    },
    /// The document is not valid yet.
    #[error("the {kind} is not valid before {} (ms since 1970): check this machine's clock", from.0)]
    NotYet {
        /// Which document.
        kind: &'static str,
        /// Its first moment.
        from: Time,
    },
    /// The document has expired.
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
        /// The field's name.
        field: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The document's number is lower than one already seen.
    #[error("the {kind} has number {got}, but number {seen} was seen before, so this one is outdated")]
    Older {
        /// Which document.
        kind: &'static str,
        /// The highest number seen before.
        seen: u64,
        /// The document's number.
        got: u64,
    },
}

pub(super) fn field(field: impl Into<String>, why: impl Into<String>) -> DocumentError {
    DocumentError::Field { field: field.into(), why: why.into() }
}
