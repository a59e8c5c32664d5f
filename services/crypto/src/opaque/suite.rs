//! The cipher suite, and the server's keys from z.

use hkdf::Hkdf;
use opaque_ke::key_exchange::sigma_i::SigmaI;
use opaque_ke::key_exchange::sigma_i::pure_eddsa::PureEddsa;
use opaque_ke::ksf::Identity;
use opaque_ke::{CipherSuite, Ed25519, Ristretto255, ServerSetup};
use sha2::Sha512;
use zeroize::Zeroizing;

use super::OpaqueError;

pub(super) struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = SigmaI<PureEddsa<Ed25519>, Ristretto255, Sha512>;
    // The password is stretched before OPAQUE: `Stretch`.
    type Ksf = Identity;
}

/// RFC 8032's base point. The library requires a valid key for answers about accounts that do not exist. We never request such an answer, so any
/// valid key will do.
const UNUSED_PUBLIC_KEY: [u8; 32] = {
    let mut base = [0x66; 32];
    base[0] = 0x58;
    base
};

/// Derives OPRF seed (64 bytes) ‖ Ed25519 private key (32 bytes) from z. Uses `ServerSetup::deserialize`, because `new_with_key_pair_and_seed`
/// would generate an unused random key pair, which costs a base multiplication. (Computing the private key's own public key costs another,
/// which can't be avoided.)
pub(super) fn server_setup(z: &[u8; 32]) -> Result<ServerSetup<Suite>, OpaqueError> {
    let hk = Hkdf::<Sha512>::new(Some(b"bkv/opaque-server/1"), z);
    let mut bytes = Zeroizing::new([0; 64 + 32 + 32]);
    let (seed, keys) = bytes.split_at_mut(64);
    let (private, unused) = keys.split_at_mut(32);
    hk.expand(b"oprf seed", seed).map_err(|_| OpaqueError::Library)?;
    hk.expand(b"ake ed25519", private).map_err(|_| OpaqueError::Library)?;
    unused.copy_from_slice(&UNUSED_PUBLIC_KEY);
    ServerSetup::deserialize(bytes.as_slice()).map_err(OpaqueError::from_library("z"))
}
