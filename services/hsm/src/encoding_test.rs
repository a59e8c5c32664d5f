use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use proptest::prelude::*;

use super::*;

#[test]
fn a_library_verifies_what_we_encode() {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key().as_ref());
    // Enough of them that short and high-bit integers occur.
    for message in 0..2_000u32 {
        let raw = pair.sign(&rng, &message.to_be_bytes()).unwrap();
        let der = signature_der(raw.as_ref()).unwrap();
        public.verify(&message.to_be_bytes(), &der).unwrap();
    }
}

#[test]
fn both_forms_of_the_point_are_read() {
    let mut point = [7u8; 65];
    point[0] = 4;
    let wrapped = [&[0x04, 0x41][..], &point].concat();
    assert_eq!(uncompressed_point(&point), Some(point));
    assert_eq!(uncompressed_point(&wrapped), Some(point));
    assert_eq!(spki(&point).len(), 91);
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(signature_der(&[0; 64]), None);
    assert_eq!(signature_der(&[1; 63]), None);
    assert_eq!(signature_der(&[1; 96]), None);
    assert_eq!(uncompressed_point(&[2; 33]), None);
    assert_eq!(uncompressed_point(&[3; 65]), None);
}

proptest! {
    #[test]
    fn bytes_from_a_module_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
        let _ = uncompressed_point(&bytes);
        let der = signature_der(&bytes);
        prop_assert!(der.is_none() || bytes.len() == 64);
    }
}
