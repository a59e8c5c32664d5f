//! Errors for logs. Callers return the same refusal for every [`TokenError`]: 401, or a message of fixed size. Metrics use [`TokenError::reason`].

use std::path::PathBuf;

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than 4 KiB.
    #[error("the token is longer than 4 KiB")]
    TooLong,
    /// Not three base64url parts with JSON in the first two.
    #[error("the token is not a JWT")]
    Malformed,
    /// `alg` is not EdDSA, ES256 or RS256.
    #[error("the token's algorithm is not EdDSA, ES256 or RS256")]
    Algorithm,
    /// The header has `crit`. This verifier knows no header extension, so it must refuse (RFC 7515, section 4.1.11).
    #[error("the token needs a header extension that is not supported (`crit`)")]
    Critical,
    /// `typ` names another kind of token, such as `logout+jwt`.
    #[error("the token's type (`typ`) is not JWT or at+jwt")]
    Type,
    /// The JWKS has no key with this `kid`. The keys are fetched again soon.
    #[error("the token's key is not in the JWKS")]
    UnknownKey,
    /// The keys are older than a day, because they could not be fetched since. The token may be good.
    #[error("the issuer's keys are older than a day, so no token can be verified")]
    KeysTooOld,
    /// The key with this `kid` is of another kind than `alg`.
    #[error("the token's key is not for the token's algorithm")]
    KeyType,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// Another issuer, or none.
    #[error("the token is from another issuer")]
    Issuer,
    /// Another audience, none, or several. With a token for two services, each service could act as the user at the other one.
    #[error("the token is for another audience, or for several")]
    Audience,
    /// Past `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before `nbf`, or `iat` is in the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// Older than the longest age after `iat`.
    #[error("the token was issued too long ago")]
    TooOld,
    /// More than 24 hours from `iat` to `exp`.
    #[error("the token is valid for more than 24 hours")]
    Lifetime,
    /// A time claim is missing (`exp`; `iat` where the age is limited) or not a number.
    #[error("a time claim of the token is missing or not a number")]
    Times,
    /// No `sub`, an empty one, or one above 255 bytes.
    #[error("the token has no subject of 1 to 255 bytes")]
    Subject,
    /// The enrolment claim exists but is not a whole number.
    #[error("the token's enrolment is not a whole number")]
    Enrolment,
    /// `cnf` exists but has no `jkt` of 32 bytes.
    #[error(
        "the token's cnf has no jkt, the SHA-256 thumbprint of a JWK in base64url; other kinds of keys are not checked here"
    )]
    Confirmation,
    /// No `cnf`, where one is required.
    #[error("the token has no cnf.jkt, and the policy takes only tokens that are bound to a key")]
    Unbound,
}

impl TokenError {
    /// The value of the metric's label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::Type => "type",
            Self::UnknownKey => "unknown_key",
            Self::KeysTooOld => "keys_too_old",
            Self::KeyType => "key_type",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::TooOld => "too_old",
            Self::Lifetime => "lifetime",
            Self::Times => "times",
            Self::Subject => "subject",
            Self::Enrolment => "enrolment",
            Self::Confirmation => "confirmation",
            Self::Unbound => "unbound",
        }
    }
}

/// Why keys can't be fetched. The last good keys stay in use for a day.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file can't be read.
    #[error("{path}: cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The address can't be fetched.
    #[error("JWKS {url}: cannot be fetched")]
    Fetch {
        /// The address.
        url: String,
        /// The client's error.
        source: reqwest::Error,
    },
    /// The server answered with an error.
    #[error("JWKS {url}: the server answered {status}")]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The file with the issuer's authorities has no certificate.
    #[error("the issuer's CA file {path}: no certificate in it; it must be PEM")]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// Not https.
    #[error("JWKS {url}: must begin with https://")]
    Scheme {
        /// The address.
        url: String,
    },
    /// More than 256 KiB.
    #[error("the JWKS is larger than 256 KiB")]
    TooLarge,
    /// More than 64 keys. Ignoring some of them would refuse genuine tokens without a trace.
    #[error("the JWKS holds {0} keys, more than 64")]
    TooMany(usize),
    /// Not a JWKS.
    #[error("not a JWKS: expected {{\"keys\": [...]}}")]
    Malformed(#[source] serde_json::Error),
    /// The JWKS has no usable key.
    #[error("the JWKS holds no Ed25519, P-256 or RSA signing key")]
    Empty,
}
