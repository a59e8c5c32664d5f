//! A region's evaluation β = x·B with a proof that log_G(Y) = log_B(β), Y being its public share (Chaum–Pedersen, Fiat–Shamir).
//! The same inputs give the same bytes, so a region that restarts, or is asked twice, reveals nothing new.
//!
//! ```text
//! statement = len64(context) ‖ context ‖ slot (1) ‖ Y ‖ B ‖ β
//! r = SHA-512("bkv/dleq/1" ‖ x ‖ seed ‖ statement) mod ℓ
//! c = SHA-512("bkv/dleq-challenge/1" ‖ statement ‖ r·G ‖ r·B) mod ℓ,  s = r − c·x,  proof = c ‖ s
//! ```

use std::fmt;

use bkv_core::id::{Element, Slot};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE as G;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::element::{point, scalar};
use super::{Share, ToprfError};

/// Bytes of a proof.
pub const PROOF_LEN: usize = 64;

/// c ‖ s.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof(pub [u8; PROOF_LEN]);

/// A region's answer to B.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evaluation {
    /// β = x·B.
    pub beta: Element,
    /// Proof that x is the slot's registered share.
    pub proof: Proof,
}

impl Proof {
    /// Refuses another length. Verification checks that c and s are canonical.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ToprfError> {
        bytes.try_into().map(Self).map_err(|_| ToprfError::Length {
            what: "a proof",
            want: PROOF_LEN,
            got: bytes.len(),
        })
    }

    fn split(&self) -> Result<(Scalar, Scalar), ToprfError> {
        let (c, s) = self.0.split_at(PROOF_LEN / 2);
        let half = |b: &[u8]| b.try_into().map_err(|_| ToprfError::Scalar).and_then(|b| scalar(&b));
        Ok((half(c)?, half(s)?))
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The proved statement, as input of both hashes.
pub(super) struct Statement<'a> {
    pub(super) context: &'a [u8],
    pub(super) slot: Slot,
    pub(super) public: &'a Element,
    pub(super) blinded: &'a Element,
    pub(super) beta: &'a Element,
}

impl Statement<'_> {
    pub(super) fn absorb(&self, hash: Sha512) -> Sha512 {
        hash.chain_update((self.context.len() as u64).to_be_bytes())
            .chain_update(self.context)
            .chain_update([self.slot.0])
            .chain_update(self.public.0)
            .chain_update(self.blinded.0)
            .chain_update(self.beta.0)
    }

    pub(super) fn challenge(&self, t1: &RistrettoPoint, t2: &RistrettoPoint) -> Scalar {
        let hash = self.absorb(Sha512::new_with_prefix(b"bkv/dleq-challenge/1"));
        Scalar::from_hash(hash.chain_update(t1.compress().0).chain_update(t2.compress().0))
    }
}

/// Evaluates B. A region calls it once the attempt is committed and its floor durable. `public` is its own public share (from `Share::check`),
/// `seed` the attempt's, `context` the hash of the statement that it will sign.
///
/// The nonce must be the region's own secret. Every region knows seed and proof. A region that could compute the nonce would learn the share,
/// x = (r − s)/c. The nonce must differ whenever the challenge does, because two proofs with one nonce reveal the share as well.
#[allow(clippy::many_single_char_names)] // the letters of the formulas above
pub fn evaluate(
    share: &Share,
    public: &Element,
    slot: Slot,
    seed: &[u8; 32],
    context: &[u8],
    blinded: &Element,
) -> Result<Evaluation, ToprfError> {
    if slot.0 == 0 {
        return Err(ToprfError::SlotZero);
    }
    let b = point(&blinded.0)?;
    let x = share.scalar();
    let beta = Element((x * b).compress().0);
    let statement = Statement { context, slot, public, blinded, beta: &beta };
    let nonce =
        Sha512::new_with_prefix(b"bkv/dleq/1").chain_update(share.to_bytes().as_slice()).chain_update(seed);
    let r = Zeroizing::new(Scalar::from_hash(statement.absorb(nonce)));
    let c = statement.challenge(&(&*r * G), &(*r * b));
    let s = *r - c * x;
    let mut proof = [0; PROOF_LEN];
    let (left, right) = proof.split_at_mut(PROOF_LEN / 2);
    left.copy_from_slice(c.as_bytes());
    right.copy_from_slice(s.as_bytes());
    Ok(Evaluation { beta, proof: Proof(proof) })
}

/// The client's check. All inputs are public, so it may take variable time. Returns β as a point.
pub(super) fn verify(
    public: &RistrettoPoint,
    slot: Slot,
    context: &[u8],
    blinded: &Element,
    evaluation: &Evaluation,
) -> Result<RistrettoPoint, ToprfError> {
    let (b, beta) = (point(&blinded.0)?, point(&evaluation.beta.0)?);
    let (c, s) = evaluation.proof.split()?;
    let t1 = RistrettoPoint::vartime_double_scalar_mul_basepoint(&c, public, &s);
    let t2 = RistrettoPoint::vartime_multiscalar_mul([s, c], [b, beta]);
    let encoded = Element(public.compress().0);
    let statement = Statement { context, slot, public: &encoded, blinded, beta: &evaluation.beta };
    if statement.challenge(&t1, &t2) == c { Ok(beta) } else { Err(ToprfError::Proof(slot.0)) }
}
