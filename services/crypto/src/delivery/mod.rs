//! Sends a share to its region: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. The caller passes info and
//! associated data, which bind the share to record and slot, so that it opens in no other account, generation or region (S44).

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
    /// The key is not 32 bytes that X25519 accepts.
    #[error("the delivery key is not an X25519 key")]
    Key,
    /// The operating system gave no randomness, or the public key is of small order.
    #[error(
        "the share can't be sealed: the delivery key is of small order, or the system gave no randomness"
    )]
    Seal,
    /// Another length than a sealed share has.
    #[error("the sealed share has {enc} + {ct} bytes instead of {ENC_LEN} + {CT_LEN}")]
    Length {
        /// Of the encapsulated key.
        enc: usize,
        /// Of the ciphertext.
        ct: usize,
    },
    /// It was sealed to another key, for another record or slot, or was changed.
    #[error("the sealed share was changed, or sealed for another key, record or slot")]
    Open,
    /// It opened, but the content is not a share.
    #[error("the sealed bytes are not a share")]
    NotAShare(#[source] ToprfError),
}

/// A region's delivery key pair. The public half is on the admission list.
pub struct DeliveryKey {
    public: [u8; 32],
    private: HpkePrivateKey,
}

impl DeliveryKey {
    /// Generates a new key pair from the operating system's randomness.
    pub fn generate() -> Result<Self, DeliveryError> {
        let (public, private) = HPKE.generate_key_pair().map_err(|_| DeliveryError::Key)?;
        Ok(Self { public: public.0.try_into().map_err(|_| DeliveryError::Key)?, private })
    }

    /// From a stored private half. Computes the public half.
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

    /// The private half, only for sealing it at rest.
    pub fn secret(&self) -> Result<Zeroizing<[u8; 32]>, DeliveryError> {
        self.private.secret_bytes().try_into().map(Zeroizing::new).map_err(|_| DeliveryError::Key)
    }

    /// Opens what was sealed to this key under the same `info` and `aad`.
    pub fn open(&self, sealed: &SealedShare, info: &[u8], aad: &[u8]) -> Result<Share, DeliveryError> {
        if sealed.enc.len() != ENC_LEN || sealed.ct.len() != CT_LEN {
            return Err(DeliveryError::Length { enc: sealed.enc.len(), ct: sealed.ct.len() });
        }
        let opened = self.open_bytes(&sealed.enc, info, aad, &sealed.ct)?;
        Share::from_slice(&opened).map_err(DeliveryError::NotAShare)
    }

    /// Opens what [`seal_bytes`] sealed to this key under the same `info` and `aad`.
    pub fn open_bytes(
        &self,
        enc: &[u8],
        info: &[u8],
        aad: &[u8],
        ct: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, DeliveryError> {
        let enc = EncapsulatedSecret(enc.to_vec());
        HPKE.open(&enc, info, aad, ct, &self.private).map(Zeroizing::new).map_err(|_| DeliveryError::Open)
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
    let (enc, ct) = seal_bytes(public, info, aad, share.to_bytes().as_slice())?;
    Ok(SealedShare { slot, enc, ct })
}

/// Seals any secret to a delivery key: encapsulated key and ciphertext. `info` must name the kind of secret, so that an attacker can't pass it off
/// as a share.
pub fn seal_bytes(
    public: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    secret: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), DeliveryError> {
    let key = HpkePublicKey(public.to_vec());
    let (enc, ct) = HPKE.seal(info, aad, secret, &key).map_err(|_| DeliveryError::Seal)?;
    Ok((enc.0, ct))
}

impl fmt::Debug for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryKey(..)")
    }
}

#[cfg(test)]
mod delivery_test;
