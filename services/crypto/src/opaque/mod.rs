//! OPAQUE (RFC 9807) with byte arrays as its interface: `opaque-ke` 4.0.1 with OPRF(ristretto255, SHA-512), SIGMA-I (Ed25519, ephemeral
//! ristretto255, HKDF and HMAC with SHA-512) over a stretched password. The server needs only the record's own z and the attempt's seed, so every replica
//! answers alike.
//!
//! Sizes in bytes: request 32, response 64, upload 192, KE1 96, KE2 384, KE3 128, session and export key 64.

mod client;
mod ke3;
mod ksf;
mod secret;
pub mod server;
mod suite;

use bkv_core::bounds;
use bkv_core::record::Record;

pub use client::{ClientLogin, ClientRegistration, LoggedIn, Registered, login_start, register_start};
pub use ke3::{check_upload, success_proof, transcript, verify_ke3_signature, verify_success_proof};
pub use ksf::{KsfError, KsfParams, Stretch, Stretched};
pub use secret::{ExportKey, SessionKey};
pub use server::{Server, ServerState};

/// Bytes of a registration request.
pub const REQUEST_LEN: usize = bounds::REGISTRATION_REQUEST;
/// Bytes of a registration response.
pub const RESPONSE_LEN: usize = bounds::REGISTRATION_RESPONSE;
/// Bytes of a registration upload: client public key (32) ‖ masking key (64) ‖ envelope (96).
pub const UPLOAD_LEN: usize = Record::UPLOAD_LEN;
/// Bytes of KE1: blinded element (32) ‖ client nonce (32) ‖ client ephemeral key (32).
pub const KE1_LEN: usize = bounds::KE1;
/// Bytes of KE2: evaluation (32) ‖ masking nonce (32) ‖ masked response (128) ‖ server nonce (32) ‖ server ephemeral key (32) ‖
/// signature (64) ‖ MAC (64).
pub const KE2_LEN: usize = bounds::KE2;
/// Bytes of KE3: signature (64) ‖ MAC (64).
pub const KE3_LEN: usize = bounds::KE3;
/// Bytes of KE1 ‖ KE2 without the server's signature.
pub const TRANSCRIPT_LEN: usize = KE1_LEN + KE2_LEN - 64;

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpaqueError {
    /// Another number of bytes than the message has.
    #[error("{what} needs {want} bytes, got {got}")]
    Length {
        /// The message.
        what: &'static str,
        /// Its length.
        want: usize,
        /// What was given.
        got: usize,
    },
    /// Not a valid encoding, or an element that is the identity, non-canonical or off the curve.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// The server sent the client's own blinded element back.
    #[error("the server sent the blinded element back")]
    Reflected,
    /// KE2 does not open: the password is wrong, or the server does not hold the record.
    #[error("the password is wrong, or the server does not hold the record")]
    WrongPassword,
    /// KE3 was not made by the client of this record for this attempt.
    #[error("KE3 does not verify")]
    Ke3,
    /// Longer than 65,535 bytes.
    #[error("the context is too long")]
    Context,
    /// Argon2id could not run with these parameters on this machine.
    #[error("key stretching failed: not enough memory, or parameters that Argon2id does not allow")]
    Stretching,
    /// The library failed in a call that should not be able to fail.
    #[error("OPAQUE failed inside the library")]
    Library,
}

impl OpaqueError {
    fn from_library(what: &'static str) -> impl FnOnce(opaque_ke::errors::ProtocolError) -> Self {
        use opaque_ke::errors::{InternalError, ProtocolError};
        move |e| match e {
            ProtocolError::InvalidLoginError => Self::WrongPassword,
            ProtocolError::ReflectedValueError => Self::Reflected,
            ProtocolError::SerializationError
            | ProtocolError::SizeError { .. }
            | ProtocolError::LibraryError(InternalError::OprfError(_)) => Self::Malformed(what),
            _ => Self::Library,
        }
    }
}

fn sized(what: &'static str, want: usize, bytes: &[u8]) -> Result<(), OpaqueError> {
    if bytes.len() == want { Ok(()) } else { Err(OpaqueError::Length { what, want, got: bytes.len() }) }
}

#[cfg(test)]
mod opaque_test;
#[cfg(test)]
mod parser_test;
#[cfg(test)]
mod vectors_test;
