//! Key stretching before OPAQUE: pw'' = Argon2id(pw') (RFC 9106) with parameters at run time. They are part of the record, and a rooted leader could
//! send others. Too weak parameters make guesses at a stolen record cheap. Too strong ones exhaust the client's memory. So a `Stretch` exists only
//! within the policy (S21).
//!
//! OPAQUE runs over pw'' and stretches nothing itself. So the client can tell a right password from a wrong one by what t regions sign, without
//! the leader's KE2.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bkv_core::id::{AccountId, AttemptId, Generation, Right};
pub use bkv_core::record::KsfParams;
use hkdf::Hkdf;
use sha2::Sha512;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::OpaqueError;
use crate::toprf::Hardened;

/// Why the parameters were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KsfError {
    /// One of them is below the policy's floor.
    #[error("key stretching is weaker than the policy's floor: {0:?}")]
    BelowFloor(KsfParams),
    /// One of them is above the policy's ceiling.
    #[error("key stretching is stronger than the policy's ceiling: {0:?}")]
    AboveCeiling(KsfParams),
    /// Argon2id has no such parameters (RFC 9106 §3.1).
    #[error("Argon2id does not allow these parameters: {0:?}")]
    Invalid(KsfParams),
}

/// Stretching parameters that the policy allows.
#[derive(Clone, Debug)]
pub struct Stretch {
    params: KsfParams,
    inner: Kind,
}

impl Stretch {
    /// Takes `params` if each of them lies between the policy's floor and ceiling.
    pub fn within(params: KsfParams, floor: &KsfParams, ceiling: &KsfParams) -> Result<Self, KsfError> {
        let triple = |k: &KsfParams| [k.memory_kib, k.passes, k.lanes];
        let (this, floor, ceiling) = (triple(&params), triple(floor), triple(ceiling));
        if this.iter().zip(floor).any(|(x, f)| *x < f) {
            return Err(KsfError::BelowFloor(params));
        }
        if this.iter().zip(ceiling).any(|(x, c)| *x > c) {
            return Err(KsfError::AboveCeiling(params));
        }
        #[cfg(feature = "bench-identity-ksf")]
        if this == [0; 3] {
            return Ok(Self { params, inner: Kind::Identity });
        }
        let argon = Params::new(params.memory_kib, params.passes, params.lanes, None)
            .map_err(|_| KsfError::Invalid(params))?;
        Ok(Self { params, inner: Kind::Argon2id(argon) })
    }

    /// The parameters, for comparison with the record's.
    pub const fn params(&self) -> &KsfParams {
        &self.params
    }

    /// pw'' = Argon2id(pw'), 64 bytes, with a salt of 16 zero bytes (as RFC 9807 §7 has it), because pw' is an OPRF output already.
    pub fn apply(&self, password: &Hardened) -> Result<Stretched, OpaqueError> {
        #[cfg(feature = "bench-identity-ksf")]
        if matches!(self.inner, Kind::Identity) {
            return Ok(Stretched(*password.expose()));
        }
        self.hash(password.expose(), &[0; 16]).map(Stretched)
    }

    /// The blinding factor of a last try, before it is reduced: HKDF-SHA-512(salt s, Argon2id(password, salt attempt id), "bkv/last-try/1"), 64 bytes. A device
    /// keeps s on its disk. Without the stretching, a thief of that file who also knows B could test a password for the price of one multiplication.
    pub fn blinding_factor(
        &self,
        password: &[u8],
        secret: &[u8; 32],
        attempt: &AttemptId,
    ) -> Result<Zeroizing<[u8; 64]>, OpaqueError> {
        let stretched = Zeroizing::new(self.hash(password, &attempt.0)?);
        let mut factor = Zeroizing::new([0; 64]);
        Hkdf::<Sha512>::new(Some(secret), stretched.as_slice())
            .expand(b"bkv/last-try/1", factor.as_mut_slice())
            .map_err(|_| OpaqueError::Library)?;
        Ok(factor)
    }

    fn hash(&self, password: &[u8], salt: &[u8; 16]) -> Result<[u8; 64], OpaqueError> {
        #[allow(clippy::infallible_destructuring_match)] // two arms with the feature
        let params = match &self.inner {
            Kind::Argon2id(params) => params,
            #[cfg(feature = "bench-identity-ksf")]
            Kind::Identity => return Err(OpaqueError::Stretching),
        };
        // Allocate the memory here, so that it is wiped (its last blocks reveal the output), and so that a failed allocation is an error, not an
        // abort.
        let mut blocks: Zeroizing<Vec<Block>> = Zeroizing::new(Vec::new());
        blocks.try_reserve_exact(params.block_count()).map_err(|_| OpaqueError::Stretching)?;
        blocks.resize(params.block_count(), Block::default());
        let mut output = [0; 64];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into_with_memory(password, salt, &mut output, blocks.as_mut_slice())
            .map_err(|_| {
                output.zeroize();
                OpaqueError::Stretching
            })?;
        Ok(output)
    }
}

/// The key stretching function.
#[derive(Clone, Debug)]
enum Kind {
    Argon2id(Params),
    #[cfg(feature = "bench-identity-ksf")]
    Identity,
}

/// pw''. OPAQUE uses it as the password. Wiped on drop, never shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Stretched([u8; 64]);

impl Stretched {
    #[cfg(test)]
    pub(super) const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    pub(super) const fn expose(&self) -> &[u8; 64] {
        &self.0
    }

    /// HKDF-SHA-512(pw'', "bkv/right/1" ‖ account ‖ generation). The record holds it, and t regions sign it with each attempt. To test a guess with it
    /// takes t shares and one Argon2id, as every other test of a guess does.
    pub fn right(&self, account: &AccountId, generation: Generation) -> Right {
        let mut right = [0; Right::LEN];
        // HKDF-SHA-512 can always output 32 bytes.
        let _ = Hkdf::<Sha512>::new(None, &self.0)
            .expand_multi_info(&[b"bkv/right/1", &account.0, &generation.0.to_be_bytes()], &mut right);
        Right(right)
    }
}

impl std::fmt::Debug for Stretched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stretched(..)")
    }
}

#[cfg(test)]
#[path = "ksf_test.rs"]
mod tests;
