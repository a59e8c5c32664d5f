//! Identities of vaults, for tests.

use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};

use crate::documents::P256_SPKI;

/// The identity as an admission list has it.
pub(crate) fn spki(identity: &EcdsaKeyPair) -> Vec<u8> {
    let point = identity.public_key().as_ref();
    // The head of the encoding and the point share the byte for "uncompressed".
    [&P256_SPKI[..P256_SPKI.len() - 1], point].concat()
}
