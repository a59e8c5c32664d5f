use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use bkv_core::id::{AttemptId, Element, Era, Hash, Lineage, RegId};
use bkv_core::possession::Use;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap()
}

/// RFC 8037, appendix A.3.
#[test]
fn the_thumbprint_of_an_ed25519_key_is_that_of_the_rfc() {
    let key = TokenPublicKey::Ed25519(bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
    assert_eq!(key.jkt(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

/// RFC 9449, sections 4.1 and 6.1.
#[test]
fn the_thumbprint_of_a_p256_key_is_that_of_the_rfc() {
    let (x, y) = (
        bytes::<32>("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"),
        bytes::<32>("9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"),
    );
    let key = TokenPublicKey::parse(&[&[4][..], &x, &y].concat()).unwrap();
    assert_eq!(key.jkt(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

/// A key of each kind, and a proof of it over a statement.
fn signers() -> [(TokenPublicKey, Box<dyn Fn(&[u8]) -> p::Proof>); 2] {
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let proof = |key: &[u8], signature: &[u8]| p::Proof {
        key: key.to_vec().into(),
        signature: signature.to_vec().into(),
    };
    let keys = [ed25519.public_key().as_ref(), p256.public_key().as_ref()];
    let [a, b] = keys.map(|key| TokenPublicKey::parse(key).unwrap());
    let by_ed25519 = move |s: &[u8]| proof(ed25519.public_key().as_ref(), ed25519.sign(s).as_ref());
    let by_p256 = move |s: &[u8]| {
        let signature = p256.sign(&SystemRandom::new(), s).unwrap();
        proof(p256.public_key().as_ref(), signature.as_ref())
    };
    [(a, Box::new(by_ed25519)), (b, Box::new(by_p256))]
}

#[test]
fn s46_only_the_named_key_proves_and_only_its_own_statement() {
    let [(a, by_a), (b, by_b)] = signers();
    for (key, by, by_other) in [(a, &by_a, &by_b), (b, &by_b, &by_a)] {
        let (good, named) = (by(b"statement"), key.thumbprint());
        assert_eq!(verify(Some(&good), &named, b"statement"), Ok(()));
        assert_eq!(verify(None, &named, b"statement"), Err(ProofError::Missing));
        assert_eq!(verify(Some(&good), &named, b"statement "), Err(ProofError::Signature));
        assert_eq!(verify(Some(&by_other(b"statement")), &named, b"statement"), Err(ProofError::OtherKey));
        let mixed = p::Proof { key: good.key.clone(), signature: by_other(b"statement").signature };
        assert_eq!(verify(Some(&mixed), &named, b"statement"), Err(ProofError::Signature));
        for len in [0, 63, 65] {
            let signature = vec![1; len].into();
            let short = p::Proof { signature, ..good.clone() };
            assert_eq!(verify(Some(&short), &named, b"statement"), Err(ProofError::Signature));
        }
    }
}

/// The statements differ in every field, and no use is another one.
#[test]
fn s46_a_proof_is_of_one_use_in_one_session_of_one_person() {
    let (attempt, blinded, cancel) = (&AttemptId([1; 16]), &Element([2; 32]), &Hash([3; 32]));
    let of = Use::Attempt { attempt, blinded, cancel, may_be_last: false };
    let uses = [
        of,
        Use::Attempt { attempt, blinded, cancel, may_be_last: true },
        Use::Attempt { attempt: &AttemptId([9; 16]), blinded, cancel, may_be_last: false },
        Use::Attempt { attempt, blinded: &Element([9; 32]), cancel, may_be_last: false },
        Use::Attempt { attempt, blinded, cancel: &Hash([9; 32]), may_be_last: false },
        Use::Registration { reg_id: &RegId([1; 16]), record: &Hash([2; 32]) },
        Use::Registration { reg_id: &RegId([9; 16]), record: &Hash([2; 32]) },
        Use::Registration { reg_id: &RegId([1; 16]), record: &Hash([9; 32]) },
        Use::Session { channel: &[2; 32] },
        Use::Session { channel: &[9; 32] },
    ];
    let (lineage, era, subject, token) = (Lineage([4; 32]), Era(5), Hash([6; 32]), Hash([7; 32]));
    let mut statements = vec![
        of.statement(&Lineage([9; 32]), era, &subject, &token),
        of.statement(&lineage, Era(9), &subject, &token),
        of.statement(&lineage, era, &Hash([9; 32]), &token),
        of.statement(&lineage, era, &subject, &Hash([9; 32])),
    ];
    statements.extend(uses.iter().map(|of| of.statement(&lineage, era, &subject, &token)));
    let all = statements.len();
    statements.sort();
    statements.dedup();
    assert_eq!(statements.len(), all);
}

proptest! {
    /// Bytes from a client or a rooted region.
    #[test]
    fn s38_a_proof_of_arbitrary_or_changed_bytes_is_refused(
        message in proptest::collection::vec(any::<u8>(), 0..300),
        key in proptest::collection::vec(any::<u8>(), 0..80),
        signature in proptest::collection::vec(any::<u8>(), 0..80),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        if let Ok(proof) = p::Proof::decode(&message[..]) {
            prop_assert!(verify(Some(&proof), &[7; 32], b"statement").is_err());
        }
        let parsed = TokenPublicKey::parse(&key);
        let possible = key.len() == 32 || (key.len() == 65 && key[0] == 4);
        prop_assert_eq!(parsed.is_ok(), possible);
        if let Ok(parsed) = parsed {
            prop_assert_eq!(parsed.as_bytes(), &key[..]);
            // A key that is no point, under its own thumbprint.
            let proof = p::Proof { key: key.into(), signature: signature.into() };
            prop_assert!(verify(Some(&proof), &parsed.thumbprint(), b"statement").is_err());
        }
        for (named, sign) in signers() {
            let good = sign(b"statement");
            let mut changed = [&good.key[..], &good.signature].concat();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            let (key, signature) = changed.split_at(good.key.len());
            let changed = p::Proof { key: key.to_vec().into(), signature: signature.to_vec().into() };
            prop_assert!(verify(Some(&changed), &named.thumbprint(), b"statement").is_err());
        }
    }
}
