//! One guess: a hardened password, and whether it opens what the record holds. The same code as the client's, up to the backup key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bkv_core::hash::framed;
use bkv_core::record::Record;
use bkv_crypto::opaque::{self, Server, Stretch};
use bkv_crypto::password::Prepared;
use bkv_crypto::toprf::{Hardened, OprfKey};
use curve25519_dalek::scalar::Scalar;
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha512};

/// What is guessed at: a record and its z, which every region has.
pub(crate) struct Target {
    pub(crate) record: Record,
    pub(crate) z: [u8; 32],
}

impl Target {
    /// The envelope, opened by login code against a server made from z; then the ciphertext.
    pub(crate) fn open(&self, pw: &Hardened) -> Option<[u8; 32]> {
        let r = &self.record;
        let pw = Stretch::within(r.ksf, &r.ksf, &r.ksf).unwrap().apply(pw).unwrap();
        let looks_right = pw.right(&r.account, r.generation) == r.right;
        let (login, ke1) = opaque::login_start(&pw, &mut OsRng).unwrap();
        let server = Server::new(&self.z).unwrap();
        let (_, ke2) = server.answer(&[0; 32], &r.upload, b"offline", &ke1).unwrap();
        let done = login.finish(&pw, &ke2, b"offline", &mut OsRng).ok();
        assert_eq!(looks_right, done.is_some(), "`right` tests the same guesses as the envelope, no others");
        let done = done?;
        let mut key = [0; 32];
        hkdf::Hkdf::<sha2::Sha256>::new(None, done.export_key.expose())
            .expand(b"bkv/backup-key/1", &mut key)
            .unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let aad = framed(
            "bkv/backup-key/1",
            &[&r.lineage.0, &r.era.0.to_be_bytes(), &r.account.0, &r.generation.0.to_be_bytes()],
        );
        let mut plain = r.ciphertext.clone();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let plain = key.open_in_place(nonce, Aad::from(aad), &mut plain).expect("the envelope opened");
        Some((&*plain).try_into().unwrap())
    }
}

/// pw' if this were the whole key. Zero is no key.
pub(crate) fn under(word: &str, key: &Scalar) -> Option<Hardened> {
    let key = OprfKey::from_bytes(&key.to_bytes()).ok()?;
    Some(key.evaluate_whole(Prepared::new(word).unwrap().expose()).unwrap())
}

/// pw' if this element were k·H(word): RFC 9497 §3.3.1 `Finalize`.
pub(crate) fn with_element(word: &str, element: &[u8; 32]) -> Hardened {
    let word = Prepared::new(word).unwrap();
    let word = word.expose();
    let length = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let hash = Sha512::new()
        .chain_update(length(word.len()))
        .chain_update(word)
        .chain_update(length(element.len()))
        .chain_update(element)
        .chain_update(b"Finalize");
    Hardened::guessed(hash.finalize().into())
}

/// The weight of slot i's share when i and j evaluate together.
pub(crate) fn weight(i: u8, j: u8) -> Scalar {
    let (i, j) = (Scalar::from(i), Scalar::from(j));
    j * (j - i).invert()
}
