//! How the private half of an in-fleet root reaches the other admitted vaults: HPKE to their delivery keys, as shares do, under a label of its own, so
//! that neither can be passed off as the other. Whoever carries it (the operator) has ciphertext.
//!
//! Base mode says nothing of the sender, and anybody can seal something to a public key. So the receiver believes the content only: it must be the
//! private half of a key in the root that the receiver pinned.

use bkv_core::hash::framed;
use bkv_core::id::{PublicKey, Slot};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as HPKE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePublicKey};
use zeroize::Zeroizing;

use super::{DeliveryError, DeliveryKey, ENC_LEN};
use crate::documents::{Root, RootKey};

/// A root's seed and AES-GCM's tag.
const ROOT_CT_LEN: usize = 32 + 16;

/// Binds what is sealed to one fleet, one root key and one receiver.
fn info(root: &Root, key: &PublicKey, slot: Slot) -> Vec<u8> {
    framed("bkv/root-handover/1", &[&root.lineage().0, &key.0, &[slot.0]])
}

/// Seals the private half of the root to the delivery key of `slot`: encapsulated key ‖ ciphertext.
pub fn seal_root(
    root: &Root,
    key: &RootKey,
    slot: Slot,
    delivery: &[u8; 32],
) -> Result<Vec<u8>, DeliveryError> {
    let to = HpkePublicKey(delivery.to_vec());
    let (enc, ct) = HPKE
        .seal(&info(root, &key.public(), slot), b"", key.seed().as_slice(), &to)
        .map_err(|_| DeliveryError::Seal)?;
    Ok([enc.0, ct].concat())
}

impl DeliveryKey {
    /// Opens what [`seal_root`] sealed for `slot`, and takes it only if it is the private half of a key of `root`.
    pub fn open_root(&self, root: &Root, slot: Slot, sealed: &[u8]) -> Result<RootKey, DeliveryError> {
        let (enc, ct) = sealed.split_at_checked(ENC_LEN).ok_or(DeliveryError::Open)?;
        if ct.len() != ROOT_CT_LEN {
            return Err(DeliveryError::Open);
        }
        let enc = EncapsulatedSecret(enc.to_vec());
        // Which of the root's keys it is, only the label says: there are at most sixteen.
        let opened = root
            .keys
            .iter()
            .find_map(|key| HPKE.open(&enc, &info(root, key, slot), b"", ct, &self.private).ok())
            .map(Zeroizing::new)
            .ok_or(DeliveryError::Open)?;
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(opened.as_slice().try_into().map_err(|_| DeliveryError::NotTheRoot)?);
        let key = RootKey::from_seed(&seed);
        if root.keys.contains(&key.public()) { Ok(key) } else { Err(DeliveryError::NotTheRoot) }
    }
}

#[cfg(test)]
#[path = "handover_test.rs"]
mod tests;
