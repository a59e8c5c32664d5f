//! The OPRF key, its Shamir shares f(1..=n) with f(0) = k, and the Feldman commitments that let anyone check a share or an evaluation.

use std::fmt;

use bkv_core::id::{Element, Slot};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE as G;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rand::{CryptoRng, RngCore};
use voprf::{OprfServer, Ristretto255};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::element::{key_scalar, point};
use super::{Hardened, ToprfError};

/// The whole key. It exists only in the client during a registration.
#[derive(ZeroizeOnDrop)]
pub struct OprfKey(Scalar);

/// One region's share of the key.
#[derive(ZeroizeOnDrop)]
pub struct Share(Scalar);

/// C: commitments to the coefficients of f, t of them. The first is the public key of the whole key. Parsing has checked that each is a valid
/// element.
#[derive(Clone, PartialEq, Eq)]
pub struct Commitments {
    encoded: Vec<Element>,
    points: Vec<RistrettoPoint>,
}

impl OprfKey {
    /// Bytes of an encoded key.
    pub const LEN: usize = 32;

    /// Uniform, not zero.
    pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        Self(nonzero(rng))
    }

    /// A known key; refuses zero and non-canonical encodings.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ToprfError> {
        key_scalar(bytes).map(Self)
    }

    /// RFC 9497 §3.3.1 `Evaluate` with the whole key. The client calls it at registration.
    pub fn evaluate_whole(&self, password: &[u8]) -> Result<Hardened, ToprfError> {
        if password.is_empty() {
            return Err(ToprfError::Password);
        }
        let bytes = Zeroizing::new(self.0.to_bytes());
        let server =
            OprfServer::<Ristretto255>::new_with_key(bytes.as_slice()).map_err(|_| ToprfError::Scalar)?;
        let output = server.evaluate(password).map_err(|_| ToprfError::Password)?;
        Ok(Hardened::new(output.into()))
    }

    /// Shares for the slots 1..=n, any t of which evaluate together, and the commitments to them.
    pub fn split(
        &self,
        threshold: usize,
        slots: usize,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<(Vec<Share>, Commitments), ToprfError> {
        let refused = ToprfError::Threshold { threshold, slots };
        let last = u8::try_from(slots).map_err(|_| refused)?;
        if threshold == 0 || threshold > slots {
            return Err(refused);
        }
        let mut f = Zeroizing::new(Vec::with_capacity(threshold)); // sized once: a growing Vec leaves copies behind
        f.push(self.0);
        f.extend((1..threshold).map(|_| nonzero(rng)));
        let at = |slot: u8| f.iter().rev().fold(Scalar::ZERO, |acc, c| acc * Scalar::from(slot) + c);
        let shares: Vec<Share> = (1..=last).map(|slot| Share(at(slot))).collect();
        if shares.iter().any(|s| s.0 == Scalar::ZERO) {
            return Err(ToprfError::Scalar); // once in 2²⁵² tries; the caller draws again
        }
        let points: Vec<RistrettoPoint> = f.iter().map(|c| c * G).collect();
        let encoded = points.iter().map(|p| Element(p.compress().0)).collect();
        Ok((shares, Commitments { encoded, points }))
    }
}

impl Share {
    /// Bytes of an encoded share.
    pub const LEN: usize = 32;

    /// Refuses zero, non-canonical encodings, other lengths.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ToprfError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| ToprfError::Length {
            what: "a share",
            want: Self::LEN,
            got: bytes.len(),
        })?;
        key_scalar(bytes).map(Self)
    }

    /// The encoding, for sealing and masking only.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Checks that this is the share of `slot` under the commitments. Returns the slot's public share.
    pub fn check(&self, slot: Slot, commitments: &Commitments) -> Result<Element, ToprfError> {
        let public = commitments.public_share(slot)?;
        if public.0 == (&self.0 * G).compress().0 { Ok(public) } else { Err(ToprfError::ShareMismatch) }
    }

    pub(super) const fn scalar(&self) -> &Scalar {
        &self.0
    }
}

impl Commitments {
    /// Refuses an empty list and any invalid element in it.
    pub fn parse(encoded: &[Element]) -> Result<Self, ToprfError> {
        if encoded.is_empty() || encoded.len() > usize::from(u8::MAX) {
            return Err(ToprfError::Threshold { threshold: encoded.len(), slots: 0 });
        }
        let points = encoded.iter().map(|e| point(&e.0)).collect::<Result<_, _>>()?;
        Ok(Self { encoded: encoded.to_vec(), points })
    }

    /// t.
    pub fn threshold(&self) -> usize {
        self.encoded.len()
    }

    /// The encoding in the record.
    pub fn encoded(&self) -> &[Element] {
        &self.encoded
    }

    /// The public key of a slot's share: Σ slotʲ·Cⱼ.
    pub fn public_share(&self, slot: Slot) -> Result<Element, ToprfError> {
        let public = Element(self.public_point(slot)?.compress().0);
        // An attacker could choose coefficients so that a slot's share is zero. That region's answer would then be independent of any key.
        if public.0 == [0; 32] { Err(ToprfError::Element) } else { Ok(public) }
    }

    pub(super) fn public_point(&self, slot: Slot) -> Result<RistrettoPoint, ToprfError> {
        if slot.0 == 0 {
            return Err(ToprfError::SlotZero);
        }
        // Horner's method. The multiplier is a small public number, so additions are much faster than a scalar multiplication.
        let times = |p: RistrettoPoint| (1..slot.0).fold(p, |sum, _| sum + p);
        let mut points = self.points.iter().rev();
        let Some(highest) = points.next() else {
            return Err(ToprfError::Threshold { threshold: 0, slots: 0 });
        };
        Ok(points.fold(*highest, |acc, c| times(acc) + c))
    }
}

fn nonzero(rng: &mut (impl RngCore + CryptoRng)) -> Scalar {
    loop {
        let mut wide = [0; 64];
        rng.fill_bytes(&mut wide);
        let s = Scalar::from_bytes_mod_order_wide(&wide);
        wide.zeroize();
        if s != Scalar::ZERO {
            return s;
        }
    }
}

impl fmt::Debug for OprfKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OprfKey(..)")
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share(..)")
    }
}

impl fmt::Debug for Commitments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Commitments").field(&self.encoded).finish()
    }
}
