//! Secrets of registrations as this vault keeps them: z and its own share masked by the token, the other regions' shares as the client sealed them.
//!
//! An attacker needs both the disk and the token to read z and the own share. Masking happens while an entry is applied and must not fail. While the
//! token is unavailable, the keeper stores the secrets as they came, sealed only by the store, and masks them when they are next used.

use std::sync::{Arc, OnceLock};

use bkv_core::encoding::cbor;
use bkv_core::id::{AccountId, Element, Hash, RegId, Slot};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_core::statement;
use bkv_crypto::delivery::{DeliveryError, DeliveryKey};
use bkv_crypto::toprf::{Commitments, Share};
use bkv_hsm::{Token, TokenError};
use bkv_wire::documents::{HandoverError, Root, RootKey, open_root};
use minicbor::{Decode, Encode};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::env::Random;
use crate::raft::keeper::Keeper;

/// The stored secrets of a registration.
#[derive(Encode, Decode)]
struct Kept {
    /// Fresh whenever the masked secrets change, or one pad would be used twice.
    #[cbor(n(0), with = "minicbor::bytes")]
    salt: [u8; 16],
    /// (z ‖ own share) XOR pad. None until the token has masked them.
    #[cbor(n(1), with = "minicbor::bytes")]
    masked: Vec<u8>,
    /// The public half of the own share that the mask covers. It was computed from the record's commitments when the share was checked against them, so an
    /// evaluation need not decode and add them up again.
    #[n(2)]
    own: Option<Element>,
    /// Sealed shares of the other regions. Includes the own share while it can't be opened.
    #[n(3)]
    others: Vec<SealedShare>,
    /// z in the clear, while it waits for the token.
    #[n(4)]
    waiting: Option<Secret32>,
    /// The hash of each sealed share, in the order of the slots.
    #[n(5)]
    hashes: Vec<Hash>,
}

/// What a region needs to evaluate, in memory only.
pub struct Unmasked {
    /// The secret from which this generation's OPAQUE keys are derived.
    pub z: Secret32,
    /// The region's own share. Without one, the region reports `SHARE_MISSING`.
    pub share: Option<OwnShare>,
}

/// A region's own share of a registration.
pub struct OwnShare {
    /// The share.
    pub share: Share,
    /// Its public half, as the record's commitments give it.
    pub public: Element,
}

/// Why the secrets can't be unmasked.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The token failed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The stored secrets can't be decoded.
    #[error("the stored secrets can't be decoded")]
    Malformed,
}

/// Masks secrets with the token.
pub struct TokenKeeper {
    token: Token,
    random: Arc<dyn Random>,
    delivery: OnceLock<DeliveryKey>,
    slot: RwLock<Option<Slot>>,
}

impl TokenKeeper {
    /// A keeper over a provisioned token.
    pub const fn new(token: Token, random: Arc<dyn Random>) -> Self {
        Self { token, random, delivery: OnceLock::new(), slot: RwLock::new(None) }
    }

    /// Sets the key to which shares are sealed. Call it before the first entry is applied.
    pub fn set_delivery(&self, key: DeliveryKey) {
        let _ = self.delivery.set(key);
    }

    /// This vault's place on the admission list.
    pub fn set_slot(&self, slot: Option<Slot>) {
        *self.slot.write() = slot;
    }

    /// Opens the root's private half that another vault sealed to this one.
    pub(crate) fn open_root(&self, root: &Root, slot: Slot, sealed: &[u8]) -> Result<RootKey, HandoverError> {
        open_root(self.delivery.get().ok_or(DeliveryError::Key)?, root, slot, sealed)
    }

    fn own_share(&self, record: &Record, shares: &[SealedShare]) -> Option<(Slot, OwnShare)> {
        let slot = (*self.slot.read())?;
        let sealed = shares.iter().find(|s| s.slot == slot)?;
        let info = statement::share_info(&record.hash(), slot);
        let share = self.delivery.get()?.open(sealed, &info, b"").ok()?;
        // Reject a share that does not fit the record's commitments: clients would refuse its evaluations as wrong.
        let commitments = Commitments::parse(&record.commitments).ok()?;
        let public = share.check(slot, &commitments).ok()?;
        Some((slot, OwnShare { share, public }))
    }

    fn mask(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        z: &Secret32,
        share: Option<&Share>,
    ) -> Result<([u8; 16], Vec<u8>), TokenError> {
        let salt: [u8; 16] = self.random.bytes();
        let pad = self.token.mask_pad_blocking(&place(account, reg_id), &salt)?;
        let mut plain = Zeroizing::new([0u8; 64]);
        let (first, second) = plain.split_at_mut(32);
        first.copy_from_slice(z.expose());
        if let Some(share) = share {
            second.copy_from_slice(share.to_bytes().as_slice());
        }
        Ok((salt, plain.iter().zip(pad.iter()).map(|(a, b)| a ^ b).collect()))
    }

    fn make(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        z: &Secret32,
        shares: &[SealedShare],
        hashes: &[Hash],
    ) -> Kept {
        let hashes = hashes.to_vec();
        let own = self.own_share(record, shares);
        match self.mask(account, reg_id, z, own.as_ref().map(|(_, own)| &own.share)) {
            Ok((salt, masked)) => {
                let slot = own.as_ref().map(|(slot, _)| *slot);
                let others = shares.iter().filter(|s| Some(s.slot) != slot).cloned().collect();
                let own = own.map(|(_, own)| own.public);
                Kept { salt, masked, own, others, waiting: None, hashes }
            }
            Err(e) => {
                tracing::error!(error = %e, "the token can't mask a registration now. The store keeps it sealed until the token can mask it");
                Kept {
                    salt: [0; 16],
                    masked: Vec::new(),
                    own: None,
                    others: shares.to_vec(),
                    waiting: Some(z.clone()),
                    hashes,
                }
            }
        }
    }

    /// The hash of this vault's own sealed share, if the vault has neither the share nor its sealed form.
    pub(crate) fn missing_share(&self, kept: &[u8]) -> Option<Hash> {
        let (kept, slot): (Kept, Slot) = (minicbor::decode(kept).ok()?, (*self.slot.read())?);
        if kept.own.is_some() || kept.others.iter().any(|s| s.slot == slot) {
            return None;
        }
        kept.hashes.get(usize::from(slot.0).checked_sub(1)?).copied()
    }

    /// Another region's share as its client sealed it.
    #[expect(clippy::unused_self, reason = "only the keeper reads what it keeps")]
    pub(crate) fn sealed_share(&self, kept: &[u8], slot: Slot) -> Option<SealedShare> {
        let kept: Kept = minicbor::decode(kept).ok()?;
        kept.others.into_iter().find(|s| s.slot == slot)
    }

    /// The secrets with this vault's own sealed share, masked anew.
    pub(crate) async fn add_share(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        kept: &[u8],
        share: SealedShare,
    ) -> Result<Vec<u8>, KeeperError> {
        let (Unmasked { z, .. }, _) = self.unmask(account, reg_id, record, kept).await?;
        let mut kept: Kept = minicbor::decode(kept).map_err(|_| KeeperError::Malformed)?;
        kept.others.push(share);
        Ok(cbor(&self.make(account, reg_id, record, &z, &kept.others, &kept.hashes)))
    }

    /// Unmasks stored secrets. Also returns a better masked form to store, if there is one now.
    pub async fn unmask(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        kept: &[u8],
    ) -> Result<(Unmasked, Option<Vec<u8>>), KeeperError> {
        let kept: Kept = minicbor::decode(kept).map_err(|_| KeeperError::Malformed)?;
        if let Some(z) = &kept.waiting {
            let better = self.make(account, reg_id, record, z, &kept.others, &kept.hashes);
            let share = self.own_share(record, &kept.others).map(|(_, s)| s);
            let put_back = better.waiting.is_none().then(|| cbor(&better));
            return Ok((Unmasked { z: z.clone(), share }, put_back));
        }
        // Asynchronous: a hanging token must not block the threads of all other tasks.
        let pad = self.token.mask_pad(&place(account, reg_id), &kept.salt).await?;
        let (z, share) = apart(&kept, &pad)?;
        Ok((Unmasked { z, share }, None))
    }

    fn open(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        kept: &Kept,
    ) -> Result<(Secret32, Option<OwnShare>), KeeperError> {
        let pad = self.token.mask_pad_blocking(&place(account, reg_id), &kept.salt)?;
        apart(kept, &pad)
    }
}

/// Splits the stored secrets into z and the own share.
fn apart(kept: &Kept, pad: &[u8; 64]) -> Result<(Secret32, Option<OwnShare>), KeeperError> {
    let masked: &[u8; 64] = kept.masked.as_slice().try_into().map_err(|_| KeeperError::Malformed)?;
    let mut plain = Zeroizing::new([0u8; 64]);
    for (out, (a, b)) in plain.iter_mut().zip(masked.iter().zip(pad)) {
        *out = a ^ b;
    }
    let (z, share) = plain.split_at(32);
    let z = Secret32::new(z.try_into().map_err(|_| KeeperError::Malformed)?);
    let own = |public| Share::from_slice(share).map(|share| OwnShare { share, public });
    Ok((z, kept.own.map(own).transpose().map_err(|_| KeeperError::Malformed)?))
}

fn place(account: &AccountId, reg_id: &RegId) -> Vec<u8> {
    [account.0.as_slice(), &reg_id.0].concat()
}

impl Keeper for TokenKeeper {
    fn keep(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        record: &Record,
        z: &Secret32,
        shares: &[SealedShare],
        hashes: &[Hash],
    ) -> Vec<u8> {
        cbor(&self.make(account, reg_id, record, z, shares, hashes))
    }

    fn export(
        &self,
        account: &AccountId,
        reg_id: &RegId,
        kept: &[u8],
    ) -> Option<(Secret32, Vec<SealedShare>, Vec<Hash>)> {
        let kept: Kept = minicbor::decode(kept).ok()?;
        let z = match &kept.waiting {
            Some(z) => z.clone(),
            None => self.open(account, reg_id, &kept).ok()?.0,
        };
        Some((z, kept.others, kept.hashes))
    }
}
