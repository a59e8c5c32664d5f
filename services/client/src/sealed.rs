//! The backup key under the client's export key, and the owner key that follows from the backup key.
//!
//! ```text
//! record.ciphertext = AES-256-GCM(HKDF-SHA-256(export key, "bkv/backup-key/1"), nonce 0, AAD, backup key)
//!               AAD = framed("bkv/backup-key/1", lineage, era, account, generation)
//! owner key         = Ed25519 with seed HKDF-SHA-256(backup key, "bkv/owner/1" ‖ lineage ‖ account)
//! ```
//! Each export key encrypts one backup key, so the nonce is constant.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bkv_core::hash::framed;
use bkv_core::id::{AccountId, Era, Generation, Lineage, PublicKey, Signature};
use bkv_crypto::opaque::ExportKey;
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::Error;

fn one_time(secret: &[u8], info: &[u8]) -> Result<LessSafeKey, Error> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret).expand(info, key.as_mut_slice()).map_err(|_| local())?;
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| local())?))
}

fn local() -> Error {
    Error::Local("a key could not be derived".into())
}

fn key_aad(lineage: &Lineage, era: Era, account: &AccountId, generation: Generation) -> Vec<u8> {
    framed("bkv/backup-key/1", &[&lineage.0, &era.0.to_be_bytes(), &account.0, &generation.0.to_be_bytes()])
}

/// The record's ciphertext. Bound to account and generation: it opens in no other record.
pub(crate) fn seal_key(
    export: &ExportKey,
    lineage: &Lineage,
    era: Era,
    account: &AccountId,
    generation: Generation,
    key: &[u8; 32],
) -> Result<Vec<u8>, Error> {
    let under = one_time(export.expose(), b"bkv/backup-key/1")?;
    let mut sealed = Vec::with_capacity(48);
    sealed.extend_from_slice(key);
    let aad = Aad::from(key_aad(lineage, era, account, generation));
    if under.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), aad, &mut sealed).is_err() {
        sealed.zeroize();
        return Err(local());
    }
    Ok(sealed)
}

/// None if it was sealed under another export key, or for another account or generation.
pub(crate) fn open_key(
    export: &ExportKey,
    lineage: &Lineage,
    era: Era,
    account: &AccountId,
    generation: Generation,
    sealed: &[u8],
) -> Option<Zeroizing<[u8; 32]>> {
    let under = one_time(export.expose(), b"bkv/backup-key/1").ok()?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let aad = Aad::from(key_aad(lineage, era, account, generation));
    let key = under.open_in_place(Nonce::assume_unique_for_key([0; 12]), aad, &mut buffer).ok()?;
    <[u8; 32]>::try_from(&*key).ok().map(Zeroizing::new)
}

/// Signs overwrites, deletion and the newest backup's name. It is derived from the backup key, so every device with the key can sign.
pub struct OwnerKey(SigningKey);

/// The owner key of an account under a backup key.
pub fn owner_key(backup_key: &[u8; 32], lineage: &Lineage, account: &AccountId) -> OwnerKey {
    let mut seed = Zeroizing::new([0; 32]);
    // HKDF-SHA-256 can always output 32 bytes.
    let _ = Hkdf::<Sha256>::new(None, backup_key)
        .expand_multi_info(&[b"bkv/owner/1", &lineage.0, &account.0], seed.as_mut_slice());
    OwnerKey(SigningKey::from_bytes(&seed))
}

impl OwnerKey {
    /// The public half, for the record.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a statement of `bkv_core::statement`, and nothing else.
    pub fn sign(&self, statement: &[u8]) -> Signature {
        Signature(self.0.sign(statement).to_bytes())
    }
}

impl std::fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnerKey(..)")
    }
}
