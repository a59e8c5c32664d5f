//! Threshold OPRF: 2HashTDH over ristretto255 (Jarecki, Kiayias, Krawczyk, Xu: TOPPSS). Hashing, blinding and finalizing are RFC 9497's,
//! OPRF(ristretto255, SHA-512) in mode OPRF, by the `voprf` crate. This module adds the sharing, the proof that an evaluation was made with the
//! registered share, and the combination. Nothing made from the password leaves this module before every proof has been verified.

mod client;
mod element;
mod key;
mod proof;

pub use client::{Blinded, Hardened, Verified, blind, blind_by};
pub use element::is_element;
pub use key::{Commitments, OprfKey, Share};
pub use proof::{Evaluation, PROOF_LEN, Proof, evaluate};

/// Why an input or an answer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ToprfError {
    /// Not the canonical encoding of an element, or the identity.
    #[error("not the canonical encoding of a group element other than the identity")]
    Element,
    /// Not a canonical scalar, or zero where a key is expected.
    #[error("not a canonical scalar")]
    Scalar,
    /// The field has the wrong length.
    #[error("{what} needs {want} bytes, got {got}")]
    Length {
        /// The field.
        what: &'static str,
        /// Its length.
        want: usize,
        /// What was given.
        got: usize,
    },
    /// Not 1 ≤ t ≤ n ≤ 255.
    #[error("a threshold of {threshold} of {slots} slots is not possible")]
    Threshold {
        /// t
        threshold: usize,
        /// n
        slots: usize,
    },
    /// Slots start at 1: slot 0 would be the key itself.
    #[error("slot 0 is not a slot: slots start at 1")]
    SlotZero,
    /// The share is not the one that the commitments commit to.
    #[error("the share does not fit the commitments")]
    ShareMismatch,
    /// The slot's proof is invalid, so that region answered wrongly.
    #[error("slot {0}: the proof of its evaluation is wrong")]
    Proof(u8),
    /// The slot sent the client's own blinded element back, or the combination equals it.
    #[error("slot {0}: the region sent the blinded element back")]
    Reflected(u8),
    /// Fewer or more than t, twice the same slot, or made for another blinded element or other commitments.
    #[error("the evaluations are not by t different slots for this blinded element and these commitments")]
    Evaluations,
    /// Empty, or longer than 65,535 bytes (RFC 9497 §1.2).
    #[error("the password is empty or too long")]
    Password,
}

#[cfg(test)]
mod attack_test;
#[cfg(test)]
mod toprf_test;
#[cfg(test)]
mod vectors_test;
