//! The client's side: blind the password, verify each answer, combine t verified answers, finalize. Only a valid proof makes a `Verified`, and
//! `finish` takes nothing else. A rooted leader that could slip in an unproved share would choose the combined key and test a guess.

use std::fmt;

use bkv_core::id::{Element, Slot};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use rand::{CryptoRng, RngCore};
use voprf::{EvaluationElement, OprfClient, Ristretto255};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Commitments, Evaluation, ToprfError, proof};

/// pw' = OPRF_k(password). OPAQUE uses it as the password. Wiped on drop, never shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Hardened([u8; 64]);

impl Hardened {
    pub(crate) const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// An attacker's guess at pw', made without t regions. Only attack tests use it.
    #[cfg(feature = "forensics")]
    pub const fn guessed(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// For OPAQUE only.
    pub const fn expose(&self) -> &[u8; 64] {
        &self.0
    }
}

/// The blinding factor of one attempt, and B.
pub struct Blinded {
    state: OprfClient<Ristretto255>,
    element: Element,
}

/// A β whose proof was valid for one B under one set of commitments.
#[derive(Clone)]
pub struct Verified {
    slot: Slot,
    point: RistrettoPoint,
    blinded: Element,
    commitments: Vec<Element>,
}

/// RFC 9497 §3.3.1 `Blind`. `password` is the prepared one.
pub fn blind(password: &[u8], rng: &mut (impl RngCore + CryptoRng)) -> Result<Blinded, ToprfError> {
    // Refuse a length beyond 16 bits here. The library would detect it only when it finalizes, after the vault has charged the attempt.
    if password.is_empty() || password.len() > usize::from(u16::MAX) {
        return Err(ToprfError::Password);
    }
    let result = OprfClient::<Ristretto255>::blind(password, rng).map_err(|_| ToprfError::Password)?;
    Ok(Blinded { element: Element(result.message.serialize().into()), state: result.state })
}

/// The same with a given factor, of 64 bytes that are reduced. For a last try, which must give the same B again after a crash.
pub fn blind_by(password: &[u8], factor: &[u8; 64]) -> Result<Blinded, ToprfError> {
    let factor = Zeroizing::new(Scalar::from_bytes_mod_order_wide(factor));
    if password.is_empty() || password.len() > usize::from(u16::MAX) || *factor == Scalar::ZERO {
        return Err(ToprfError::Password);
    }
    let result = OprfClient::<Ristretto255>::deterministic_blind_unchecked(password, *factor)
        .map_err(|_| ToprfError::Password)?;
    Ok(Blinded { element: Element(result.message.serialize().into()), state: result.state })
}

impl Blinded {
    /// B, which the client sends in `Begin`.
    pub const fn element(&self) -> &Element {
        &self.element
    }

    /// Checks one region's answer. `context` must be what the region hashed: the hash of its evaluation statement.
    pub fn verify(
        &self,
        commitments: &Commitments,
        slot: Slot,
        context: &[u8],
        evaluation: &Evaluation,
    ) -> Result<Verified, ToprfError> {
        if evaluation.beta == self.element {
            return Err(ToprfError::Reflected(slot.0));
        }
        let public = commitments.public_point(slot)?;
        let point = proof::verify(&public, slot, context, &self.element, evaluation)?;
        Ok(Verified { slot, point, blinded: self.element, commitments: commitments.encoded().to_vec() })
    }

    /// Combines exactly t verified answers of different slots in the exponent, unblinds and hashes (RFC 9497 §3.3.1 `Finalize`): the same
    /// bytes as [`super::OprfKey::evaluate_whole`], for any choice of slots.
    pub fn finish(
        &self,
        password: &[u8],
        commitments: &Commitments,
        answers: &[Verified],
    ) -> Result<Hardened, ToprfError> {
        let element = combine(self, commitments, answers)?;
        if element == self.element {
            return Err(ToprfError::Reflected(0)); // k = 1: pw' would be anyone's to compute
        }
        let element = EvaluationElement::deserialize(&element.0).map_err(|_| ToprfError::Element)?;
        let output = self.state.finalize(password, &element).map_err(|_| ToprfError::Password)?;
        Ok(Hardened::new(output.into()))
    }

    #[cfg(test)]
    pub(super) fn with_factor(password: &[u8], factor: Scalar) -> Self {
        let result = OprfClient::<Ristretto255>::deterministic_blind_unchecked(password, factor).unwrap();
        Self { element: Element(result.message.serialize().into()), state: result.state }
    }
}

/// Σ λᵢ·βᵢ over the slots that answered. Weights and points are public.
pub(super) fn combine(
    blinded: &Blinded,
    commitments: &Commitments,
    answers: &[Verified],
) -> Result<Element, ToprfError> {
    let fits = |a: &Verified| a.blinded == blinded.element && a.commitments == commitments.encoded();
    if answers.len() != commitments.threshold() || !answers.iter().all(fits) {
        return Err(ToprfError::Evaluations);
    }
    let slots: Vec<u8> = answers.iter().map(|a| a.slot.0).collect();
    let mut different = slots.clone();
    different.sort_unstable();
    different.dedup();
    if different.len() != slots.len() {
        return Err(ToprfError::Evaluations); // would divide by zero below
    }
    let weights = slots.iter().map(|&i| {
        let others = slots.iter().filter(|&&j| j != i);
        let (top, bottom) = others.fold((Scalar::ONE, Scalar::ONE), |(top, bottom), &j| {
            (top * Scalar::from(j), bottom * (Scalar::from(j) - Scalar::from(i)))
        });
        top * bottom.invert()
    });
    let weights: Vec<Scalar> = weights.collect();
    let sum = RistrettoPoint::vartime_multiscalar_mul(weights, answers.iter().map(|a| a.point));
    Ok(Element(sum.compress().0))
}

impl fmt::Debug for Hardened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hardened(..)")
    }
}

impl fmt::Debug for Blinded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blinded").field("element", &self.element).finish_non_exhaustive()
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("slot", &self.slot).finish_non_exhaustive()
    }
}
