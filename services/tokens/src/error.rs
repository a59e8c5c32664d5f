//! Errors for logs. Callers return the same for every [`TokenError`] (401, or one refusal of fixed size); metrics use [`TokenError::reason`].

use std::path::PathBuf;

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than 8 KiB.
    #[error("longer than a token may be")]
    TooLong,
    /// Not three base64url parts with JSON in the first two.
    #[error("not a JWT")]
    Malformed,
    /// `alg` is none, HS*, or any other that is not one of ours.
    #[error("an algorithm that is not allowed")]
    Algorithm,
    /// A header extension that must be understood and is not (RFC 7515, section 4.1.11).
    #[error("a critical header extension that is not understood")]
    Critical,
    /// No key of this name; the keys are fetched again soon.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The key of this name is of another kind than `alg` says.
    #[error("the key is of another kind than the algorithm needs")]
    KeyType,
    /// The signature is wrong.
    #[error("the signature does not hold")]
    Signature,
    /// Another issuer, or none.
    #[error("another issuer")]
    Issuer,
    /// Another audience, none, or several: with a token for two services each of them could use the other.
    #[error("another audience")]
    Audience,
    /// Past `exp`.
    #[error("expired")]
    Expired,
    /// Before `nbf`, or `iat` is in the future.
    #[error("not valid yet")]
    NotYet,
    /// A time claim is missing (`exp`) or not a number.
    #[error("a time in it is missing or not a number")]
    Times,
    /// No `sub`, an empty one, or one above 255 bytes.
    #[error("no usable subject")]
    Subject,
    /// The enrolment claim is there but not a whole number.
    #[error("the enrolment is not a whole number")]
    Enrolment,
}

impl TokenError {
    /// The value of a metric's label, from a closed set.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::UnknownKey => "unknown_key",
            Self::KeyType => "key_type",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Times => "times",
            Self::Subject => "subject",
            Self::Enrolment => "enrolment",
        }
    }
}

/// Why keys can't be fetched. The last good ones stay in use.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file can't be read.
    #[error("JWKS file {path}: cannot be read")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address can't be fetched.
    #[error("JWKS {url}: cannot be fetched")]
    Fetch {
        /// Which.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server answered, but not with a document.
    #[error("JWKS {url}: the server answered {status}")]
    Status {
        /// Which.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// Not https.
    #[error("JWKS {url}: must begin with https://")]
    Scheme {
        /// Which.
        url: String,
    },
    /// More than 256 KiB.
    #[error("the JWKS is larger than 256 KiB")]
    TooLarge,
    /// Not a JWKS.
    #[error("not a JWKS: expected {{\"keys\": [...]}}")]
    Malformed(#[source] serde_json::Error),
    /// No key of a kind that is allowed here.
    #[error("the JWKS holds no Ed25519, P-256 or RSA signing key")]
    Empty,
}
