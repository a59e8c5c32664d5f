//! Access tokens. Only the issuer makes them, so the liar has those that it was shown.

use bkv_core::id::{Hash, Time};
use bkv_core::statement;

/// How long after its issue a vault accepts a token.
const MAX_AGE: u64 = 600_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) person: u8,
    pub(super) issued: Time,
}

impl Token {
    pub(super) fn is_valid(self, now: Time) -> bool {
        self.issued <= now && now <= self.issued.plus(MAX_AGE)
    }

    /// The tag that regions sign for the person of this token.
    pub(super) fn tag(self, nonce: &[u8; 32]) -> Hash {
        statement::subject(nonce, "https://issuer.test", &format!("person {}", self.person), 0)
    }
}
