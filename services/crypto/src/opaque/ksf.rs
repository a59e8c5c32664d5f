//! Key stretching: Argon2id (RFC 9106) with parameters at run time. They are part of the record, and a rooted leader could send
//! others. Too weak parameters make guesses at a stolen record cheap. Too strong ones exhaust the client's memory. So a `Stretch` exists only
//! within the policy (S21).

use argon2::{Algorithm, Argon2, Block, Params, Version};
pub use bkv_core::record::KsfParams;
use opaque_ke::errors::InternalError;
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use zeroize::{Zeroize, Zeroizing};

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
    inner: LibraryKsf,
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
            return Ok(Self { params, inner: LibraryKsf::Identity });
        }
        let argon = Params::new(params.memory_kib, params.passes, params.lanes, None)
            .map_err(|_| KsfError::Invalid(params))?;
        Ok(Self { params, inner: LibraryKsf::Argon2id(argon) })
    }

    /// The parameters, for comparison with the record's.
    pub const fn params(&self) -> &KsfParams {
        &self.params
    }

    pub(super) const fn library(&self) -> &LibraryKsf {
        &self.inner
    }
}

/// The key stretching function that the library calls.
#[derive(Clone, Debug)]
pub(super) enum LibraryKsf {
    Argon2id(Params),
    #[cfg(feature = "bench-identity-ksf")]
    Identity,
}

/// The library requires a default. We always pass our own parameters.
impl Default for LibraryKsf {
    fn default() -> Self {
        Self::Argon2id(Params::default())
    }
}

impl opaque_ke::ksf::Ksf for LibraryKsf {
    /// RFC 9807 §7: Argon2id with a salt of 16 zero bytes, because the input is an OPRF output already. The output is as long as the input.
    fn hash<L: ArrayLength<u8>>(
        &self,
        input: GenericArray<u8, L>,
    ) -> Result<GenericArray<u8, L>, InternalError> {
        let params = match self {
            Self::Argon2id(params) => params,
            #[cfg(feature = "bench-identity-ksf")]
            Self::Identity => return Ok(input),
        };
        let input = Zeroizing::new(input);
        // Allocate the memory here, so that it is wiped (its last blocks reveal the output), and so that a failed allocation is an error, not an
        // abort.
        let mut blocks: Zeroizing<Vec<Block>> = Zeroizing::new(Vec::new());
        blocks.try_reserve_exact(params.block_count()).map_err(|_| InternalError::KsfError)?;
        blocks.resize(params.block_count(), Block::default());
        let mut output = GenericArray::default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into_with_memory(&input, &[0; 16], &mut output, blocks.as_mut_slice())
            .map_err(|_| {
                output.zeroize();
                InternalError::KsfError
            })?;
        Ok(output)
    }
}

#[cfg(test)]
#[path = "ksf_test.rs"]
mod tests;
