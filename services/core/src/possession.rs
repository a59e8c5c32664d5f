//! What the client's key signs if the token names one (`cnf`, RFC 7800, section 3.1). Each kind of request has a statement of its own. So a rooted region that has
//! seen a token and its proofs can use neither for an attempt or a registration of its own (S46).

use crate::hash::{framed, tagged};
use crate::id::{AttemptId, Element, Era, Hash, Lineage, RegId};

/// What the token is used for.
#[derive(Clone, Copy, Debug)]
pub enum Use<'a> {
    /// A session with one vault: attestations of the account.
    Session {
        /// Keying material of the channel to that vault. A region that has seen the proof can't open a session of its own with it.
        channel: &'a [u8; 32],
    },
    /// One attempt.
    Attempt {
        /// Its id.
        attempt: &'a AttemptId,
        /// B.
        blinded: &'a Element,
        /// H(cancel).
        cancel: &'a Hash,
        /// The user agrees to use the last try. Without this field a rooted leader could burn the other tries and begin an ordinary attempt again as the last try.
        may_be_last: bool,
    },
    /// One registration.
    Registration {
        /// Its id.
        reg_id: &'a RegId,
        /// H(record).
        record: &'a Hash,
    },
}

/// Identifies the token beside which a proof holds.
pub fn token_hash(token: &str) -> Hash {
    tagged("bkv/possession-token/1", &[token.as_bytes()])
}

impl Use<'_> {
    /// The signed bytes. `subject` is the tag of [`crate::statement::subject`] over the session's nonce. It names the person, so the proof is of no use for
    /// another account of the same key. `token` is of [`token_hash`]: the proof ends with its token, so a rooted region can't keep it for a later token of the key.
    pub fn statement(&self, lineage: &Lineage, era: Era, subject: &Hash, token: &Hash) -> Vec<u8> {
        let era = era.0.to_be_bytes();
        let whose: [&[u8]; 4] = [&lineage.0, &era, &subject.0, &token.0];
        let of = |label: &str, fields: &[&[u8]]| framed(label, &[&whose, fields].concat());
        match self {
            Self::Session { channel } => of("bkv/possession-session/1", &[channel.as_slice()]),
            Self::Attempt { attempt, blinded, cancel, may_be_last } => of(
                "bkv/possession-attempt/1",
                &[&attempt.0, &blinded.0, &cancel.0, &[u8::from(*may_be_last)]],
            ),
            Self::Registration { reg_id, record } => {
                of("bkv/possession-registration/1", &[&reg_id.0, &record.0])
            }
        }
    }
}
