//! Signs documents as the root, for `bkv ceremony` on an offline machine and by `bkv dev`.

use bkv_core::hash::tagged;
use bkv_core::id::PublicKey;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use zeroize::Zeroizing;

use super::error::DocumentError;
use super::{Kind, kind_for_people, statement};
use crate::proto::documents as p;

/// A root's private key. Wiped when dropped. `Debug` does not show it.
pub struct RootKey(SigningKey);

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKey(..)")
    }
}

impl RootKey {
    /// The key whose private half is these 32 random bytes.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The 32 bytes, for the file of the root's private key.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Adds this key's signature, in place of an earlier one by the same key.
    pub(super) fn sign(&self, doc: &mut p::SignedDocument) {
        let key = self.public().0;
        doc.signatures.retain(|s| s.key[..] != key);
        let signature = self.0.sign(&statement(&doc.kind, &doc.body)).to_bytes().to_vec().into();
        doc.signatures.push(p::RootSignature { key: key.to_vec().into(), signature });
    }
}

/// An unsigned document, as a ceremony request carries it.
pub fn unsigned(kind: Kind, body: Vec<u8>) -> Vec<u8> {
    p::SignedDocument { kind: kind.name().into(), body: body.into(), signatures: vec![] }.encode_to_vec()
}

/// Adds one key's signature. A second signature by the same key changes nothing.
pub fn add_signature(kind: Kind, document: &[u8], key: &RootKey) -> Result<Vec<u8>, DocumentError> {
    let mut doc = p::SignedDocument::decode(document)
        .map_err(|e| DocumentError::Malformed { what: "document", why: e.to_string() })?;
    if doc.kind != kind.name() {
        return Err(DocumentError::Kind { want: kind.name(), got: kind_for_people(&doc.kind) });
    }
    key.sign(&mut doc);
    Ok(doc.encode_to_vec())
}

/// The fingerprint that people read aloud and compare before they sign: the first 16 bytes of a SHA-256 hash, in groups of four digits.
pub fn fingerprint(label: &str, bytes: &[u8]) -> String {
    let hash = tagged("bkv/fingerprint/1", &[label.as_bytes(), bytes]);
    let digits = hash.to_string();
    digits
        .as_bytes()
        .chunks(4)
        .take(8)
        .map(|c| String::from_utf8_lossy(c).into_owned())
        .collect::<Vec<_>>()
        .join("-")
}
