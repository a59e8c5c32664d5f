//! The seal around the reply to `Finish`: only the client that proved the password, on the channel that carries the reply, can open it.
//!
//! ```text
//! sealed   = AES-256-GCM(HKDF-SHA-256(ikm session key, salt exporter, "bkv/reply/1"), nonce 0, AAD attempt id, body)
//! exporter = TLS exporter of the channel that carries the reply, label "EXPORTER-bkv-reply", empty context
//! ```
//! The session key belongs to one attempt and the exporter to one channel, so the key encrypts one message and the nonce is constant.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::opaque::SessionKey;

/// Label of the TLS exporter that goes into the key.
pub const EXPORTER: &[u8] = b"EXPORTER-bkv-reply";
const INFO: &[u8] = b"bkv/reply/1";

/// The library could not derive the key or encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reply can't be sealed")]
pub struct ReplyError;

fn key(session: &SessionKey, exporter: &[u8; 32]) -> Result<LessSafeKey, ReplyError> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(exporter), session.expose())
        .expand(INFO, key.as_mut_slice())
        .map_err(|_| ReplyError)?;
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| ReplyError)?))
}

/// The leader's half: seals `body` for the attempt.
pub fn seal(
    session: &SessionKey,
    exporter: &[u8; 32],
    attempt: &[u8],
    mut body: Vec<u8>,
) -> Result<Vec<u8>, ReplyError> {
    key(session, exporter)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from(attempt), &mut body)
        .map_err(|_| ReplyError)?;
    Ok(body)
}

/// The client's half. None unless `sealed` was made with the same session key and exporter, for the same attempt.
pub fn open(session: &SessionKey, exporter: &[u8; 32], attempt: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = sealed.to_vec();
    let body = key(session, exporter)
        .ok()?
        .open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::from(attempt), &mut buffer)
        .ok()?;
    Some(body.to_vec())
}

#[cfg(test)]
#[path = "reply_test.rs"]
mod tests;
