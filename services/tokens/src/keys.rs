//! Parses a JWKS (RFC 7517) and keeps the keys that may verify tokens here. Skips keys of other kinds, because an issuer may publish more.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::KeysError;

/// The most keys of a document.
const MAX_KEYS: usize = 64;
/// The largest document, in bytes.
pub const MAX_DOCUMENT: usize = 256 << 10;

/// One public key with the only algorithm that it may verify.
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) public: DecodingKey,
}

/// The keys of one issuer at one time.
#[derive(Default)]
pub struct Keys {
    keys: Vec<Key>,
    document: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.keys.len())
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl Keys {
    /// Parses a document. Refuses a JWKS without usable keys.
    pub fn parse(json: &[u8]) -> Result<Self, KeysError> {
        if json.len() > MAX_DOCUMENT {
            return Err(KeysError::TooLarge);
        }
        let document: Document = serde_json::from_slice(json).map_err(KeysError::Malformed)?;
        if document.keys.len() > MAX_KEYS {
            return Err(KeysError::TooMany(document.keys.len()));
        }
        let keys: Vec<Key> = document.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(KeysError::Empty);
        }
        Ok(Self { keys, document: Sha256::digest(json).into() })
    }

    /// SHA-256 of the document. It distinguishes two sets of keys.
    pub(crate) const fn document(&self) -> &[u8; 32] {
        &self.document
    }

    /// The keys with this `kid`: an issuer may give several keys one `kid`. Without a `kid`, the key of a JWKS that has one key.
    pub(crate) fn named(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let only = self.keys.len() == 1;
        self.keys.iter().filter(move |k| if id.is_some() { k.id.as_deref() == id } else { only })
    }
}

fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    if jwk.common.key_algorithm.is_some_and(|a| a.to_string() != format!("{algorithm:?}")) {
        return None;
    }
    let public = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, algorithm, public })
}
