//! S01: RFC 9497's vectors, and our own frozen vectors of the threshold form.

use bkv_core::id::{Element, Slot};
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use super::{Blinded, OprfKey, evaluate};

fn bytes(v: &Value) -> Vec<u8> {
    hex::decode(v.as_str().unwrap()).unwrap()
}

fn array(v: &Value) -> [u8; 32] {
    bytes(v).try_into().unwrap()
}

#[test]
fn s01_rfc9497_appendix_a_1_1() {
    let file: Value =
        serde_json::from_str(include_str!("../../tests/vectors/rfc9497_oprf_ristretto255_sha512.json"))
            .unwrap();
    let derived = voprf::OprfServer::<voprf::Ristretto255>::new_from_seed(
        &bytes(&file["seed"]),
        &bytes(&file["key_info"]),
    );
    assert_eq!(derived.unwrap().serialize().to_vec(), bytes(&file["sk"]));

    let sk = array(&file["sk"]);
    let key = OprfKey::from_bytes(&sk).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 2);
    for v in vectors {
        let input = bytes(&v["input"]);
        let factor = Scalar::from_canonical_bytes(array(&v["blind"])).unwrap();
        let blinded = Blinded::with_factor(&input, factor);
        assert_eq!(blinded.element().0, array(&v["blinded_element"]));
        let b = CompressedRistretto(blinded.element().0).decompress().unwrap();
        let whole = Scalar::from_canonical_bytes(sk).unwrap() * b;
        assert_eq!(whole.compress().0, array(&v["evaluation_element"]));
        assert_eq!(key.evaluate_whole(&input).unwrap().expose().to_vec(), bytes(&v["output"]));

        // The same through the threshold path: any two of three regions give the RFC's output.
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let (shares, commitments) = key.split(2, 3, &mut rng).unwrap();
        for pair in [[1u8, 2], [1, 3], [3, 2]] {
            let answers: Vec<_> = pair
                .iter()
                .map(|&slot| {
                    let share = &shares[usize::from(slot) - 1];
                    let public = share.check(Slot(slot), &commitments).unwrap();
                    let answer =
                        evaluate(share, &public, Slot(slot), &[5; 32], b"cx", blinded.element()).unwrap();
                    blinded.verify(&commitments, Slot(slot), b"cx", &answer).unwrap()
                })
                .collect();
            let out = blinded.finish(&input, &commitments, &answers).unwrap();
            assert_eq!(out.expose().to_vec(), bytes(&v["output"]), "slots {pair:?}");
        }
    }
}

/// A change of any label, order or length in the proof fails here. After a deliberate change (and a new label), copy the printed values.
#[test]
fn s01_our_threshold_form_is_frozen() {
    let mut rng = ChaCha20Rng::from_seed([42; 32]);
    let key = OprfKey::random(&mut rng);
    let (shares, commitments) = key.split(2, 3, &mut rng).unwrap();
    let password = b"correct horse battery staple";
    let blinded = super::blind(password, &mut rng).unwrap();
    let (seed, context) = ([7; 32], [8; 32]);
    let mut evaluations = Vec::new();
    let mut verified = Vec::new();
    for (share, slot) in shares.iter().zip(1u8..) {
        let public = share.check(Slot(slot), &commitments).unwrap();
        let e = evaluate(share, &public, Slot(slot), &seed, &context, blinded.element()).unwrap();
        verified.push(blinded.verify(&commitments, Slot(slot), &context, &e).unwrap());
        evaluations.push(json!({
            "slot": slot, "share": hex::encode(share.to_bytes().as_slice()), "public_share": hex::encode(public.0),
            "beta": hex::encode(e.beta.0), "proof": hex::encode(e.proof.0),
        }));
    }
    let hardened = blinded.finish(password, &commitments, &verified[..2]).unwrap();
    let encoded: Vec<String> = commitments.encoded().iter().map(|c: &Element| hex::encode(c.0)).collect();
    let ours = json!({
        "password": hex::encode(password), "seed": hex::encode(seed), "context": hex::encode(context),
        "commitments": encoded, "blinded": hex::encode(blinded.element().0), "evaluations": evaluations,
        "hardened": hex::encode(hardened.expose()),
    });
    let frozen: Value = serde_json::from_str(include_str!("../../tests/vectors/bkv_toprf_1.json")).unwrap();
    assert!(ours == frozen, "now: {}", serde_json::to_string_pretty(&ours).unwrap());
}
