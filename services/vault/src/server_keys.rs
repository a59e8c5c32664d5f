//! The server's OPAQUE keys of a registration. They follow from z, which is no part of the replicated state. The record names their public half.

use bkv_core::id::PublicKey;
use bkv_core::secret::Secret32;
use bkv_crypto::opaque::Server;

/// This z does not give the record's server key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server secret that this region holds is not the record's")]
pub struct OtherZ;

/// The keys that `z` gives, if their public half is `named`, the record's. With other keys KE2 does not open for the right password either: an
/// attacker who plants a wrong z would make users spend their tries.
pub(crate) fn server_keys(named: &PublicKey, z: &Secret32) -> Result<Server, OtherZ> {
    let server = Server::new(z.expose()).map_err(|_| OtherZ)?;
    if server.public_key() == named.0 { Ok(server) } else { Err(OtherZ) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s43_keys_of_another_z_are_refused() {
        let z = Secret32::new([3; 32]);
        let named = PublicKey(Server::new(z.expose()).unwrap().public_key());
        assert!(server_keys(&named, &z).is_ok());
        assert!(server_keys(&named, &Secret32::new([4; 32])).is_err());
        assert!(server_keys(&PublicKey([4; 32]), &z).is_err());
    }
}
