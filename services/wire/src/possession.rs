//! Proofs by the key of a bound token. The token names the key by its JWK thumbprint (`cnf.jkt`: RFC 7800, section 3.1; RFC 9449, section 6.1). The proof
//! brings the key itself and its signature over one statement of [`bkv_core::possession`].

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::proto::inner as p;

/// The label of the channel's keying material (RFC 8446, section 7.5) that the proof of a session signs.
pub const EXPORTER: &[u8] = b"EXPORTER-bkv-possession";

/// Why a proof is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is none.
    #[error("proof: missing, though the token names a key in cnf.jkt; sign the request with that key")]
    Missing,
    /// Neither an Ed25519 nor a P-256 key.
    #[error(
        "proof.key: {0} bytes are no key; an Ed25519 key has 32, an uncompressed P-256 point 65 and begins with 4"
    )]
    Key(usize),
    /// Not the key that the token names.
    #[error("proof.key: not the key that the token's cnf.jkt names")]
    OtherKey,
    /// The signature does not hold for this request.
    #[error("proof.signature: not by proof.key over this request in this session")]
    Signature,
}

/// The public half of the key that a token names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenPublicKey {
    /// Ed25519.
    Ed25519([u8; 32]),
    /// An uncompressed point of P-256 (SEC 1, section 2.3.3).
    P256([u8; 65]),
}

impl TokenPublicKey {
    /// Tells the two kinds apart by their length. Whether it is a point of the curve is checked with the signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let malformed = |_| ProofError::Key(bytes.len());
        match bytes {
            [4, ..] if bytes.len() == 65 => Ok(Self::P256(bytes.try_into().map_err(malformed)?)),
            _ => Ok(Self::Ed25519(bytes.try_into().map_err(malformed)?)),
        }
    }

    /// As a proof brings it.
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key,
            Self::P256(point) => point,
        }
    }

    /// The JWK with exactly the members that the thumbprint covers, in their order and without blanks (RFC 7638, section 3.2; RFC 8037, section 2).
    pub fn jwk(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(key)),
            Self::P256([_, point @ ..]) => {
                let (x, y) = point.split_at(32);
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y))
            }
        }
    }

    /// SHA-256 of the JWK (RFC 7638).
    pub fn thumbprint(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.jwk().as_bytes()).as_ref());
        hash
    }

    /// The thumbprint as `cnf.jkt` has it.
    pub fn jkt(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.thumbprint())
    }

    /// EdDSA, or ECDSA with SHA-256 as r ‖ s (RFC 7518, section 3.4).
    fn signed(&self, statement: &[u8], signature: &[u8; 64]) -> bool {
        match self {
            Self::Ed25519(key) => bkv_crypto::ed25519::verify(key, statement, signature),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(statement, signature).is_ok()
            }
        }
    }
}

/// Fails unless the key with this thumbprint has signed the statement.
pub fn verify(proof: Option<&p::Proof>, thumbprint: &[u8; 32], statement: &[u8]) -> Result<(), ProofError> {
    let proof = proof.ok_or(ProofError::Missing)?;
    let key = TokenPublicKey::parse(&proof.key)?;
    if key.thumbprint() != *thumbprint {
        return Err(ProofError::OtherKey);
    }
    let signature = proof.signature[..].try_into().map_err(|_| ProofError::Signature)?;
    if key.signed(statement, signature) { Ok(()) } else { Err(ProofError::Signature) }
}

#[cfg(test)]
#[path = "possession_test.rs"]
mod possession_test;
