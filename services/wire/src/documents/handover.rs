//! Hands the private half of an in-fleet root to the other admitted vaults: HPKE to their delivery keys, as for shares, under a label of its
//! own. So an attacker can't pass a share off as a root or a root as a share. The operator who carries it sees only ciphertext.
//!
//! HPKE's base mode does not authenticate the sender, and an attacker can seal to a public key. So the receiver trusts only the content: it must
//! be the private half of a key in the root that the receiver pinned.

use bkv_core::hash::framed;
use bkv_core::id::{PublicKey, Slot};
use bkv_crypto::delivery::{DeliveryError, DeliveryKey, ENC_LEN, seal_bytes};
use zeroize::Zeroizing;

use super::{Root, RootKey};

/// Bytes of the ciphertext: a root's seed and AES-GCM's tag.
const ROOT_CT_LEN: usize = 32 + 16;

/// Why a root's private half could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The delivery key is unusable, or the bytes were sealed to another key, for another root or slot.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// It opened, but is not the private half of a key of the root.
    #[error("the sealed bytes are not the private half of a pinned root key")]
    NotTheRoot,
}

/// Binds the sealed key to one fleet, one root key and one receiver.
fn info(root: &Root, key: &PublicKey, slot: Slot) -> Vec<u8> {
    framed("bkv/root-handover/1", &[&root.lineage().0, &key.0, &[slot.0]])
}

/// Seals the private half of the root to the delivery key of `slot`: encapsulated key ‖ ciphertext.
pub fn seal_root(
    root: &Root,
    key: &RootKey,
    slot: Slot,
    delivery: &[u8; 32],
) -> Result<Vec<u8>, HandoverError> {
    let (enc, ct) = seal_bytes(delivery, &info(root, &key.public(), slot), b"", key.seed().as_slice())?;
    Ok([enc, ct].concat())
}

/// Opens what [`seal_root`] sealed for `slot`. Accepts it only if it is the private half of a key of `root`.
pub fn open_root(
    delivery: &DeliveryKey,
    root: &Root,
    slot: Slot,
    sealed: &[u8],
) -> Result<RootKey, HandoverError> {
    let (enc, ct) = sealed.split_at_checked(ENC_LEN).ok_or(DeliveryError::Open)?;
    if ct.len() != ROOT_CT_LEN {
        return Err(DeliveryError::Open.into());
    }
    // Only the label identifies which of the root's keys it is. There are at most sixteen, so try each.
    let opened = root
        .keys
        .iter()
        .find_map(|key| delivery.open_bytes(enc, &info(root, key, slot), b"", ct).ok())
        .ok_or(DeliveryError::Open)?;
    let seed: Zeroizing<[u8; 32]> =
        Zeroizing::new(opened.as_slice().try_into().map_err(|_| HandoverError::NotTheRoot)?);
    let key = RootKey::from_seed(&seed);
    if root.keys.contains(&key.public()) { Ok(key) } else { Err(HandoverError::NotTheRoot) }
}

#[cfg(test)]
#[path = "handover_test.rs"]
mod tests;
