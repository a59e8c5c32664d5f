//! The client's side. Its password is pw'': hardened by the threshold OPRF, then stretched.

use std::fmt;

use opaque_ke::{
    ClientLoginFinishParameters, ClientRegistrationFinishParameters, CredentialResponse, Identifiers,
    RegistrationResponse,
};
use rand::{CryptoRng, RngCore};

use super::secret::{ExportKey, SessionKey};
use super::suite::Suite;
use super::{KE2_LEN, OpaqueError, RESPONSE_LEN, Stretched, sized};

/// The client's state between request and response of a registration.
pub struct ClientRegistration(opaque_ke::ClientRegistration<Suite>);

/// The client's state between KE1 and KE2.
pub struct ClientLogin(opaque_ke::ClientLogin<Suite>);

/// The result of a registration.
#[derive(Debug)]
pub struct Registered {
    /// The upload, for the record.
    pub upload: Vec<u8>,
    /// The export key. Each login returns the same key.
    pub export_key: ExportKey,
}

/// The result of a login. The server has proved that it holds the record, and has not seen KE3 yet.
#[derive(Debug)]
pub struct LoggedIn {
    /// KE3, for `Finish`.
    pub ke3: Vec<u8>,
    /// The session key, which protects the reply.
    pub session_key: SessionKey,
    /// The export key, which opens the record's ciphertext.
    pub export_key: ExportKey,
}

/// RFC 9807 §5.2.1. Returns the state and the registration request.
pub fn register_start(
    password: &Stretched,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(ClientRegistration, Vec<u8>), OpaqueError> {
    let started = opaque_ke::ClientRegistration::<Suite>::start(rng, password.expose())
        .map_err(OpaqueError::from_library("the password"))?;
    Ok((ClientRegistration(started.state), started.message.serialize().to_vec()))
}

impl ClientRegistration {
    /// RFC 9807 §5.2.3.
    pub fn finish(
        self,
        password: &Stretched,
        response: &[u8],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Registered, OpaqueError> {
        sized("the registration response", RESPONSE_LEN, response)?;
        let response = RegistrationResponse::deserialize(response)
            .map_err(OpaqueError::from_library("the registration response"))?;
        let parameters = ClientRegistrationFinishParameters::new(Identifiers::default(), None);
        let mut done = self
            .0
            .finish(rng, password.expose(), response, parameters)
            .map_err(OpaqueError::from_library("the registration response"))?;
        Ok(Registered {
            upload: done.message.serialize().to_vec(),
            export_key: ExportKey::take(&mut done.export_key)?,
        })
    }
}

/// RFC 9807 §6.1. Returns the state and KE1.
pub fn login_start(
    password: &Stretched,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(ClientLogin, Vec<u8>), OpaqueError> {
    let started = opaque_ke::ClientLogin::<Suite>::start(rng, password.expose())
        .map_err(OpaqueError::from_library("the password"))?;
    Ok((ClientLogin(started.state), started.message.serialize().to_vec()))
}

impl ClientLogin {
    /// RFC 9807 §6.3. `context` binds account, generation, ordinal, attempt and B.
    ///
    /// # Errors
    /// [`OpaqueError::WrongPassword`] when KE2 doesn't open; no KE3 exists then.
    pub fn finish(
        self,
        password: &Stretched,
        ke2: &[u8],
        context: &[u8],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<LoggedIn, OpaqueError> {
        sized("KE2", KE2_LEN, ke2)?;
        let ke2 = CredentialResponse::deserialize(ke2).map_err(OpaqueError::from_library("KE2"))?;
        let parameters = ClientLoginFinishParameters::new(Some(context), Identifiers::default(), None);
        let mut done = self
            .0
            .finish(rng, password.expose(), ke2, parameters)
            .map_err(OpaqueError::from_library("KE2"))?;
        Ok(LoggedIn {
            ke3: done.message.serialize().to_vec(),
            session_key: SessionKey::take(&mut done.session_key)?,
            export_key: ExportKey::take(&mut done.export_key)?,
        })
    }
}

impl fmt::Debug for ClientRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientRegistration(..)")
    }
}

impl fmt::Debug for ClientLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientLogin(..)")
    }
}
