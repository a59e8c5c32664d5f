//! The check that gives tries back: the client's signature in KE3, over public bytes only. It needs no secret, repeats no key exchange, and trusts
//! nothing that a leader kept.

use super::{KE1_LEN, KE2_LEN, KE3_LEN, OpaqueError, TRANSCRIPT_LEN, UPLOAD_LEN, sized};
use crate::ed25519;

const SIGNATURE_LEN: usize = 64;
const MAC_LEN: usize = 64;

/// Checks the length and the client's public key. Under a key of small order an attacker's signature would pass.
pub fn check_upload(upload: &[u8]) -> Result<(), OpaqueError> {
    if ed25519::acceptable(client_key(upload)?) {
        Ok(())
    } else {
        Err(OpaqueError::Malformed("the client's public key"))
    }
}

/// KE1 ‖ KE2 without the server's signature.
pub fn transcript(ke1: &[u8], ke2: &[u8]) -> Result<Vec<u8>, OpaqueError> {
    sized("KE1", KE1_LEN, ke1)?;
    sized("KE2", KE2_LEN, ke2)?;
    let (head, tail) = ke2.split_at(KE2_LEN - MAC_LEN - SIGNATURE_LEN);
    let (_, mac) = tail.split_at(SIGNATURE_LEN);
    Ok([ke1, head, mac].concat())
}

/// Verifies the client's signature in KE3 under the client key of `upload`, in `context`. The MAC in KE3 and the server's signature in KE2
/// are ignored: checking them needs secrets, and neither is signed by the client.
pub fn verify_ke3_signature(
    upload: &[u8],
    context: &[u8],
    ke1: &[u8],
    ke2: &[u8],
    ke3: &[u8],
) -> Result<(), OpaqueError> {
    let (transcript, signature) = success_proof(ke1, ke2, ke3)?;
    verify_success_proof(upload, context, &transcript, &signature)
}

/// The part of a valid `Finish` that a replica keeps. It later proves to any verifier that the client itself restored its tries: the transcript
/// (KE1 ‖ KE2 without the server's signature) and the client's signature. Checks lengths only.
pub fn success_proof(
    ke1: &[u8],
    ke2: &[u8],
    ke3: &[u8],
) -> Result<(Vec<u8>, [u8; SIGNATURE_LEN]), OpaqueError> {
    sized("KE3", KE3_LEN, ke3)?;
    let signature = ke3.first_chunk().copied().ok_or(OpaqueError::Ke3)?;
    Ok((transcript(ke1, ke2)?, signature))
}

/// Verifies a proof made by [`success_proof`].
pub fn verify_success_proof(
    upload: &[u8],
    context: &[u8],
    transcript: &[u8],
    signature: &[u8; SIGNATURE_LEN],
) -> Result<(), OpaqueError> {
    sized("the transcript", TRANSCRIPT_LEN, transcript)?;
    let key = client_key(upload)?;
    let message = signed_message(key, context, transcript)?;
    if ed25519::verify(key, &message, signature) { Ok(()) } else { Err(OpaqueError::Ke3) }
}

/// Exactly what the client signs in opaque-ke 4.0.1's SIGMA-I (`sigma_i/message.rs`, `Role::Client`), identities left at their default:
/// "OPAQUEv1-" ‖ len16(context) ‖ context ‖ len16(client key) ‖ client key ‖ KE1 ‖ KE2 without the server's signature.
fn signed_message(client_key: &[u8; 32], context: &[u8], transcript: &[u8]) -> Result<Vec<u8>, OpaqueError> {
    let context_len = u16::try_from(context.len()).map_err(|_| OpaqueError::Context)?;
    Ok([
        b"OPAQUEv1-".as_slice(),
        &context_len.to_be_bytes(),
        context,
        &32u16.to_be_bytes(),
        client_key,
        transcript,
    ]
    .concat())
}

fn client_key(upload: &[u8]) -> Result<&[u8; 32], OpaqueError> {
    sized("the upload", UPLOAD_LEN, upload)?;
    upload.first_chunk().ok_or(OpaqueError::Malformed("the upload"))
}
