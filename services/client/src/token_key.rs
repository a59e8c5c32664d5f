//! The key to which the person's vault tokens are bound (`cnf.jkt`). It signs each session, attempt and registration, so a rooted region that has seen the token can't use
//! it (S46). An app whose key is in hardware implements [`TokenKey`]. [`SoftwareTokenKey`] keeps one in memory.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_core::document::Policy;
use bkv_core::id::{AttemptId, Element, Era, Hash, Lineage};
use bkv_core::possession::{Use, token_hash};
use bkv_core::record::Record;
pub use bkv_wire::possession::TokenPublicKey;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use zeroize::Zeroizing;

use crate::error::{Error, TokenKeyError};
use crate::token::{Claims, Confirmation};

/// Signs with the key to which the tokens are bound. It may be in hardware.
#[async_trait]
pub trait TokenKey: Send + Sync {
    /// The public half. The issuer puts its thumbprint ([`TokenPublicKey::jkt`]) into the tokens.
    fn public(&self) -> TokenPublicKey;

    /// Signs the statement: EdDSA with Ed25519, or ECDSA with P-256 and SHA-256 as r ‖ s (RFC 7518, section 3.4). A login needs two signatures, a registration two.
    async fn sign(&self, statement: &[u8]) -> Result<[u8; 64], Error>;
}

/// Makes the proofs of one session.
pub(crate) struct Prover {
    key: Arc<dyn TokenKey>,
    lineage: Lineage,
    era: Era,
    /// The person's tag in this session.
    subject: Hash,
    /// Of the token of this session.
    token: Hash,
}

impl Prover {
    /// None if the token is bound to no key. Fails if the vaults would refuse the token: its refusal would not say why.
    pub(crate) fn new(
        key: Option<&Arc<dyn TokenKey>>,
        claims: &Claims,
        policy: &Policy,
        subject: Hash,
        token: &str,
    ) -> Result<Option<Self>, TokenKeyError> {
        let jkt = match &claims.confirmation {
            Confirmation::None if policy.bound_tokens => return Err(TokenKeyError::Unbound),
            Confirmation::None => return Ok(None),
            Confirmation::Other => return Err(TokenKeyError::Confirmation),
            Confirmation::Jkt(jkt) => jkt,
        };
        let key = key.ok_or(TokenKeyError::Missing)?.clone();
        if key.public().jkt() != *jkt {
            return Err(TokenKeyError::Other);
        }
        Ok(Some(Self { key, lineage: policy.lineage, era: policy.era, subject, token: token_hash(token) }))
    }

    /// Puts the proof into a request that needs one. `channel`: the keying material of the channel through which it goes.
    pub(crate) async fn prove(&self, operation: &mut Operation, channel: &[u8; 32]) -> Result<(), Error> {
        match operation {
            Operation::Open(open) => open.proof = Some(self.proof(&Use::Session { channel }).await?),
            Operation::Begin(begin) => {
                let own = |e: &dyn std::fmt::Display| Error::Local(e.to_string());
                let attempt = &AttemptId::try_from(&begin.attempt[..]).map_err(|e| own(&e))?;
                let blinded = &Element::try_from(&begin.blinded[..]).map_err(|e| own(&e))?;
                let cancel = &Hash::try_from(&begin.cancel[..]).map_err(|e| own(&e))?;
                let may_be_last = begin.may_be_last;
                begin.proof =
                    Some(self.proof(&Use::Attempt { attempt, blinded, cancel, may_be_last }).await?);
            }
            Operation::Store(store) => {
                let record = Record::decode(&store.record).map_err(|e| Error::Local(e.to_string()))?;
                let what = Use::Registration { reg_id: &record.reg_id, record: &record.hash() };
                store.proof = Some(self.proof(&what).await?);
            }
            // These need no proof: each carries a signature or a secret of the client, goes on with what a proof began, or asks only what the leader knows.
            Operation::Attest(_)
            | Operation::RegisterStart(_)
            | Operation::Confirm(_)
            | Operation::MoreEvaluations(_)
            | Operation::KeyExchange(_)
            | Operation::GiveUp(_)
            | Operation::Finish(_)
            | Operation::SetLedger(_)
            | Operation::ForgetWriter(_)
            | Operation::ReadLedgers(_)
            | Operation::Delete(_) => {}
        }
        Ok(())
    }

    async fn proof(&self, what: &Use<'_>) -> Result<p::Proof, Error> {
        let statement = what.statement(&self.lineage, self.era, &self.subject, &self.token);
        let signature = self.key.sign(&statement).await?;
        Ok(p::Proof {
            key: self.key.public().as_bytes().to_vec().into(),
            signature: signature.to_vec().into(),
        })
    }
}

/// A key in this process's memory.
pub struct SoftwareTokenKey(Pair);

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// The file holds no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 or P-256 private key as PKCS#8 in PEM (-----BEGIN PRIVATE KEY-----)")]
pub struct NoTokenKey;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

impl SoftwareTokenKey {
    /// A new P-256 key as PEM. Every issuer with bound tokens knows ES256.
    pub fn generate() -> Result<Zeroizing<String>, Error> {
        let local = |_| Error::Local("no random numbers for a key".into());
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(local)?;
        let text = Zeroizing::new(STANDARD.encode(document.as_ref()));
        // One allocation of the whole length: a buffer that grows leaves copies of the secret in memory.
        let mut pem = Zeroizing::new(String::with_capacity(2 * text.len() + 2 * BEGIN.len()));
        pem.push_str(BEGIN);
        for (at, c) in text.chars().enumerate() {
            if at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(c);
        }
        pem.push('\n');
        pem.push_str(END);
        pem.push('\n');
        Ok(pem)
    }

    /// Reads a private key as PKCS#8 (RFC 5958) in PEM (RFC 7468).
    pub fn from_pem(pem: &str) -> Result<Self, NoTokenKey> {
        let (_, body) = pem.split_once(BEGIN).ok_or(NoTokenKey)?;
        let (body, _) = body.split_once(END).ok_or(NoTokenKey)?;
        let mut text = Zeroizing::new(String::with_capacity(body.len()));
        text.extend(body.split_ascii_whitespace());
        let der = Zeroizing::new(STANDARD.decode(text.as_bytes()).map_err(|_| NoTokenKey)?);
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map(Pair::P256);
        p256.or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Pair::Ed25519))
            .map(Self)
            .map_err(|_| NoTokenKey)
    }
}

#[async_trait]
impl TokenKey for SoftwareTokenKey {
    fn public(&self) -> TokenPublicKey {
        let mut key = [0; 32];
        let mut point = [0; 65];
        match &self.0 {
            Pair::Ed25519(pair) => {
                key.copy_from_slice(pair.public_key().as_ref());
                TokenPublicKey::Ed25519(key)
            }
            Pair::P256(pair) => {
                point.copy_from_slice(pair.public_key().as_ref());
                TokenPublicKey::P256(point)
            }
        }
    }

    async fn sign(&self, statement: &[u8]) -> Result<[u8; 64], Error> {
        let signature = match &self.0 {
            Pair::Ed25519(pair) => pair.sign(statement),
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), statement)
                .map_err(|_| Error::Local("the token's key can't sign".into()))?,
        };
        signature.as_ref().try_into().map_err(|_| Error::Local("the token's key can't sign".into()))
    }
}

impl std::fmt::Debug for SoftwareTokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoftwareTokenKey").field("jkt", &self.public().jkt()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "token_key_test.rs"]
mod token_key_test;
