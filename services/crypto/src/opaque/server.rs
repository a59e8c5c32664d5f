//! The server's side. Every function depends only on its arguments, so any replica returns the same bytes, also after a restart.

use std::fmt;

use hkdf::Hkdf;
use opaque_ke::{
    CredentialFinalization, CredentialRequest, Identifiers, RegistrationRequest, ServerLogin,
    ServerLoginParameters, ServerRegistration, ServerSetup,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::secret::SessionKey;
use super::suite::{Suite, server_setup};
use super::{KE1_LEN, KE3_LEN, OpaqueError, REQUEST_LEN, check_upload, sized};

/// A record's server keys, from its z. Making it costs a base multiplication, so keep it from KE1 to Finish.
pub struct Server {
    setup: ServerSetup<Suite>,
    z: Zeroizing<[u8; 32]>,
}

/// What the leader keeps between KE2 and KE3, to check the MAC and learn the session key.
pub struct ServerState(ServerLogin<Suite>);

impl Server {
    /// Derives the keys from z.
    pub fn new(z: &[u8; 32]) -> Result<Self, OpaqueError> {
        Ok(Self { setup: server_setup(z)?, z: Zeroizing::new(*z) })
    }

    /// The AKE public key, which the registration response ends with and the record holds.
    pub fn public_key(&self) -> [u8; 32] {
        self.setup.keypair().public().serialize().into()
    }

    /// RFC 9807 §5.2.2: the registration response. Every replica repeats it when it applies a `Store` (S07).
    pub fn register(&self, request: &[u8]) -> Result<Vec<u8>, OpaqueError> {
        sized("the registration request", REQUEST_LEN, request)?;
        let malformed = OpaqueError::from_library("the registration request");
        let request = RegistrationRequest::deserialize(request).map_err(malformed)?;
        let started = ServerRegistration::<Suite>::start(&self.setup, request, b"");
        Ok(started.map_err(|_| OpaqueError::Library)?.message.serialize().to_vec())
    }

    /// RFC 9807 §6.2: KE1 → KE2. Randomness is ChaCha20 keyed with HKDF-SHA-512(salt "bkv/ke2/1", z ‖ seed, context ‖ SHA-256(KE1)): not
    /// from the seed alone, because an attacker who reads the log has the seed and would learn the session key. The hash includes KE1, so a second
    /// KE1 in the same attempt gets another ephemeral key and other nonces.
    pub fn answer(
        &self,
        seed: &[u8; 32],
        upload: &[u8],
        context: &[u8],
        ke1: &[u8],
    ) -> Result<(ServerState, Vec<u8>), OpaqueError> {
        sized("KE1", KE1_LEN, ke1)?;
        check_upload(upload)?;
        let mut secret = Zeroizing::new([0; 64]);
        let (left, right) = secret.split_at_mut(32);
        left.copy_from_slice(self.z.as_slice());
        right.copy_from_slice(seed);
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha512>::new(Some(b"bkv/ke2/1"), secret.as_slice())
            .expand_multi_info(&[context, &Sha256::digest(ke1)], key.as_mut_slice())
            .map_err(|_| OpaqueError::Library)?;
        let record =
            ServerRegistration::deserialize(upload).map_err(OpaqueError::from_library("the upload"))?;
        let request = CredentialRequest::deserialize(ke1).map_err(OpaqueError::from_library("KE1"))?;
        let started = ServerLogin::start(
            &mut ChaCha20Rng::from_seed(*key),
            &self.setup,
            Some(record),
            request,
            b"",
            parameters(context)?,
        )
        .map_err(OpaqueError::from_library("KE1"))?;
        Ok((ServerState(started.state), started.message.serialize().to_vec()))
    }
}

/// [`Server::register`] for a caller that has only z. Every replica recomputes the registration response with it as it applies a `Store`.
pub fn registration_response(z: &[u8; 32], request: &[u8]) -> Result<Vec<u8>, OpaqueError> {
    Server::new(z)?.register(request)
}

impl ServerState {
    /// RFC 9807 §6.4: signature and MAC of KE3. Used only for the session key. Every replica decides by its own check whether the tries are restored:
    /// `verify_ke3_signature`.
    pub fn finish(self, ke3: &[u8], context: &[u8]) -> Result<SessionKey, OpaqueError> {
        sized("KE3", KE3_LEN, ke3)?;
        let ke3 = CredentialFinalization::deserialize(ke3).map_err(OpaqueError::from_library("KE3"))?;
        let mut done = self.0.finish(ke3, parameters(context)?).map_err(|_| OpaqueError::Ke3)?;
        SessionKey::take(&mut done.session_key)
    }
}

fn parameters(context: &[u8]) -> Result<ServerLoginParameters<'_, '_>, OpaqueError> {
    if context.len() > usize::from(u16::MAX) {
        return Err(OpaqueError::Context);
    }
    Ok(ServerLoginParameters { context: Some(context), identifiers: Identifiers::default() })
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server(..)")
    }
}

impl fmt::Debug for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerState(..)")
    }
}
