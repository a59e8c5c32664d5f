//! The identity key for rustls: a raw public key (RFC 7250). The token makes the signatures.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::error::TokenError;
use crate::token::Token;

/// Names the identity key in the token. It holds no private key.
#[derive(Debug, Clone)]
struct TokenKey {
    token: Token,
    spki: SubjectPublicKeyInfoDer<'static>,
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.spki.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        // The peer gets an alert without a reason. The log and the token's health have the reason.
        self.token.sign_ecdsa_p256_blocking(message).map_err(|e| rustls::Error::General(e.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

impl Token {
    /// `identity` for a rustls `ServerConfig` or `ClientConfig` with raw public keys
    /// (`AlwaysResolvesServerRawPublicKeys`, `AlwaysResolvesClientRawPublicKeys`). Each handshake blocks its thread
    /// for one signature: some 50 µs in software, at most the call deadline with a hung token. Blocks.
    pub fn rustls_certified_key(&self) -> Result<Arc<CertifiedKey>, TokenError> {
        let spki = self.identity_spki_blocking()?;
        let key = TokenKey { token: self.clone(), spki: SubjectPublicKeyInfoDer::from(spki.clone()) };
        Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], Arc::new(key))))
    }
}
