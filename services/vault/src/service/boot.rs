//! This vault's boot key: an Ed25519 key in memory only. The token's identity certifies it for less than a day, and it is renewed before that ends.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bkv_core::document::Admission;
use bkv_core::id::{NodeId, PublicKey, Time};
use bkv_hsm::{Token, TokenError};
use bkv_wire::boot::{Claims, MAX_VALIDITY_MS};
use bytes::Bytes;
use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::env::Random;

/// How far certificates are backdated, so that a peer whose clock is a little behind accepts them.
const BACKDATE_MS: u64 = 5 * 60 * 1000;
/// A new key is made when its certificate is valid for less than this.
const RENEW_MS: u64 = 8 * 3600 * 1000;

struct Certified {
    /// aws-lc signs in half the time that ed25519-dalek needs, and the bytes are the same (RFC 8032). It wipes what it frees.
    key: Ed25519KeyPair,
    certificate: Bytes,
    admission: u64,
    not_after: u64,
}

pub(super) struct Boot {
    token: Token,
    random: Arc<dyn Random>,
    current: RwLock<Option<Arc<Certified>>>,
}

impl Boot {
    pub(super) const fn new(token: Token, random: Arc<dyn Random>) -> Self {
        Self { token, random, current: RwLock::new(None) }
    }

    /// Makes and certifies a key, unless the present one is valid for this list and long enough.
    pub(super) async fn renew(&self, list: &Admission, node: NodeId, now_ms: u64) -> Result<(), TokenError> {
        let Some(member) = list.node(node) else { return Ok(()) };
        let good = self.get().is_some_and(|c| c.admission == list.number && c.not_after > now_ms + RENEW_MS);
        if good {
            return Ok(());
        }
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(self.random.bytes());
        let Ok(key) = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()) else {
            tracing::error!("aws-lc has refused a seed: this vault has no new boot key");
            return Ok(());
        };
        let Ok(public) = <[u8; 32]>::try_from(key.public_key().as_ref()) else {
            tracing::error!(
                "aws-lc has returned a boot key of another length: this vault has no new boot key"
            );
            return Ok(());
        };
        let not_before = now_ms.saturating_sub(BACKDATE_MS);
        let claims = Claims {
            lineage: list.lineage,
            era: list.era,
            node,
            slot: member.slot,
            admission: list.number,
            key: PublicKey(public),
            not_before: Time(not_before),
            not_after: Time(not_before + MAX_VALIDITY_MS),
        };
        let signature = self.token.sign_ecdsa_p256(&claims.statement()).await?;
        let certificate = claims.encode(&signature).into();
        let certified = Certified { key, certificate, admission: list.number, not_after: claims.not_after.0 };
        *self.current.write() = Some(Arc::new(certified));
        Ok(())
    }

    fn get(&self) -> Option<Arc<Certified>> {
        self.current.read().clone()
    }

    /// (certificate, signature).
    pub(super) fn sign(&self, statement: &[u8]) -> Option<(Bytes, Bytes)> {
        let c = self.get()?;
        let signature = c.key.try_sign(statement).ok()?;
        Some((c.certificate.clone(), signature.as_ref().to_vec().into()))
    }
}
