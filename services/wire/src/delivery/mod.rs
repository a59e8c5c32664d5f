//! How a share reaches its region: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. The caller gives info and
//! associated data: they bind the share to record and slot, so that it opens in no other account, generation or region (S44).

mod handover;

pub use handover::seal_root;

use std::fmt;

use aws_lc_rs::agreement;
use bkv_core::id::Slot;
use bkv_core::record::SealedShare;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as HPKE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

use crate::toprf::{Share, ToprfError};

/// Bytes of HPKE's encapsulated key.
pub const ENC_LEN: usize = 32;
/// Bytes of a sealed share: the share and AES-GCM's tag.
pub const CT_LEN: usize = Share::LEN + 16;

/// Why a share could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Not 32 bytes that X25519 can work with.
    #[error("not an X25519 key")]
    Key,
    /// The operating system gave no randomness, or the public key is of small order.
    #[error("sealing failed: the delivery key can't be used")]
    Seal,
    /// Another length than a sealed share has.
    #[error("the sealed share has {enc} + {ct} bytes, {ENC_LEN} + {CT_LEN} are right")]
    Length {
        /// Of the encapsulated key.
        enc: usize,
        /// Of the ciphertext.
        ct: usize,
    },
    /// Sealed to another key, for another record or slot, or changed.
    #[error("the sealed share does not open here")]
    Open,
    /// It opened, and is no share.
    #[error("the sealed bytes are no share")]
    NotAShare(#[source] ToprfError),
    /// It opened, and is not the root's private half.
    #[error("the sealed bytes are not the private half of a pinned root key")]
    NotTheRoot,
}

/// A region's delivery key pair. The public half is on the admission list.
pub struct DeliveryKey {
    public: [u8; 32],
    private: HpkePrivateKey,
}

impl DeliveryKey {
    /// A new one, from the operating system's randomness.
    pub fn generate() -> Result<Self, DeliveryError> {
        let (public, private) = HPKE.generate_key_pair().map_err(|_| DeliveryError::Key)?;
        Ok(Self { public: public.0.try_into().map_err(|_| DeliveryError::Key)?, private })
    }

    /// One that was kept (sealed at rest): the public half is computed.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self, DeliveryError> {
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, secret)
            .map_err(|_| DeliveryError::Key)?;
        let public = key.compute_public_key().map_err(|_| DeliveryError::Key)?;
        let public = public.as_ref().try_into().map_err(|_| DeliveryError::Key)?;
        Ok(Self { public, private: HpkePrivateKey::from(secret.to_vec()) })
    }

    /// For the admission list.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The private half, to be sealed at rest and nothing else.
    pub fn secret(&self) -> Result<Zeroizing<[u8; 32]>, DeliveryError> {
        self.private.secret_bytes().try_into().map(Zeroizing::new).map_err(|_| DeliveryError::Key)
    }

    /// Opens what was sealed to this key under the same `info` and `aad`.
    pub fn open(&self, sealed: &SealedShare, info: &[u8], aad: &[u8]) -> Result<Share, DeliveryError> {
        if sealed.enc.len() != ENC_LEN || sealed.ct.len() != CT_LEN {
            return Err(DeliveryError::Length { enc: sealed.enc.len(), ct: sealed.ct.len() });
        }
        let enc = EncapsulatedSecret(sealed.enc.clone());
        let opened =
            HPKE.open(&enc, info, aad, &sealed.ct, &self.private).map_err(|_| DeliveryError::Open)?;
        Share::from_slice(&Zeroizing::new(opened)).map_err(DeliveryError::NotAShare)
    }
}

/// Seals a share to the delivery key of `slot`.
pub fn seal(
    slot: Slot,
    public: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    share: &Share,
) -> Result<SealedShare, DeliveryError> {
    let key = HpkePublicKey(public.to_vec());
    let (enc, ct) =
        HPKE.seal(info, aad, share.to_bytes().as_slice(), &key).map_err(|_| DeliveryError::Seal)?;
    Ok(SealedShare { slot, enc: enc.0, ct })
}

impl fmt::Debug for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryKey(..)")
    }
}

#[cfg(test)]
mod delivery_test;
