//! The cipher suite, and the server's keys from z.

use hkdf::Hkdf;
use opaque_ke::key_exchange::sigma_i::SigmaI;
use opaque_ke::key_exchange::sigma_i::pure_eddsa::PureEddsa;
use opaque_ke::{CipherSuite, Ed25519, Ristretto255, ServerSetup};
use sha2::Sha512;
use zeroize::Zeroizing;

use super::OpaqueError;
use super::ksf::LibraryKsf;

pub(super) struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = SigmaI<PureEddsa<Ed25519>, Ristretto255, Sha512>;
    type Ksf = LibraryKsf;
}

/// RFC 8032's base point: a valid key that stands where the library wants one for accounts that do not exist. We never ask it for such.
const UNUSED_PUBLIC_KEY: [u8; 32] = {
    let mut base = [0x66; 32];
    base[0] = 0x58;
    base
};

/// OPRF seed (64) ‖ Ed25519 private key (32) from z. `ServerSetup::deserialize` is the way in: `new_with_key_pair_and_seed` would make a
/// random key pair each time, a base multiplication for nothing. (The one for the private key's own public key can't be avoided.)
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
