//! S44: a sealed share opens only unchanged, with its own key, for its own record and slot.

use bkv_core::id::{Hash, Slot};
use bkv_core::record::SealedShare;
use bkv_core::statement::share_info;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as HPKE;
use rustls::crypto::hpke::{Hpke, HpkePublicKey};

use super::{CT_LEN, DeliveryError, DeliveryKey, ENC_LEN, seal};
use crate::toprf::{OprfKey, Share};

fn share() -> Share {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    OprfKey::random(&mut rng).split(1, 1, &mut rng).unwrap().0.remove(0)
}

#[test]
fn a_share_arrives() {
    let (key, share) = (DeliveryKey::generate().unwrap(), share());
    let info = share_info(&Hash([1; 32]), Slot(1));
    let sealed = seal(Slot(1), key.public(), &info, b"aad", &share).unwrap();
    assert_eq!((sealed.enc.len(), sealed.ct.len()), (ENC_LEN, CT_LEN));
    let kept = DeliveryKey::from_secret(&key.secret().unwrap()).unwrap();
    assert_eq!(kept.public(), key.public());
    assert_eq!(*kept.open(&sealed, &info, b"aad").unwrap().to_bytes(), *share.to_bytes());
    assert_eq!(format!("{key:?}"), "DeliveryKey(..)");
}

#[test]
fn s44_it_opens_nowhere_else() {
    let (key, other, share) = (DeliveryKey::generate().unwrap(), DeliveryKey::generate().unwrap(), share());
    let info = share_info(&Hash([1; 32]), Slot(1));
    let sealed = seal(Slot(1), key.public(), &info, b"aad", &share).unwrap();
    let open = |key: &DeliveryKey, info: &[u8], aad: &[u8]| {
        matches!(key.open(&sealed, info, aad), Err(DeliveryError::Open))
    };
    assert!(open(&other, &info, b"aad"), "another region");
    assert!(open(&key, &share_info(&Hash([2; 32]), Slot(1)), b"aad"), "another record");
    assert!(open(&key, &share_info(&Hash([1; 32]), Slot(2)), b"aad"), "another slot");
    assert!(open(&key, &info, b""), "other associated data");
    for bit in 0..(ENC_LEN + CT_LEN) * 8 {
        let mut bad = sealed.clone();
        let byte = bit / 8;
        let target = if byte < ENC_LEN { &mut bad.enc[byte] } else { &mut bad.ct[byte - ENC_LEN] };
        *target ^= 1 << (bit % 8);
        // X25519 ignores the top bit of a public key, but HPKE hashes its bytes.
        assert!(matches!(key.open(&bad, &info, b"aad"), Err(DeliveryError::Open)), "bit {bit}");
    }
}

/// S02: if the public key were of small order, every attacker could open the share.
#[test]
fn s02_delivery_keys_of_small_order_are_refused() {
    for y in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        assert!(matches!(seal(Slot(1), &y, b"", b"", &share()), Err(DeliveryError::Seal)));
    }
}

#[test]
fn s02_what_opens_must_be_a_share() {
    let key = DeliveryKey::generate().unwrap();
    for plain in [[0; 32], [0xff; 32]] {
        let (enc, ct) = HPKE.seal(b"i", b"a", &plain, &HpkePublicKey(key.public().to_vec())).unwrap();
        let sealed = SealedShare { slot: Slot(1), enc: enc.0, ct };
        assert!(matches!(key.open(&sealed, b"i", b"a"), Err(DeliveryError::NotAShare(_))));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(enc in proptest::collection::vec(any::<u8>(), 0..70), ct in proptest::collection::vec(any::<u8>(), 0..70),
        right: bool, slot: u8)
    {
        let key = DeliveryKey::from_secret(&[5; 32]).unwrap();
        let (mut enc, mut ct) = (enc, ct);
        if right {
            enc.resize(ENC_LEN, 1);
            ct.resize(CT_LEN, 1);
        }
        let sealed = SealedShare { slot: Slot(slot), enc, ct };
        prop_assert!(key.open(&sealed, b"", b"").is_err());
    }
}
