//! The threshold OPRF against the plain one, refused inputs (S02, S03, S44, S45), and the parsers.

use bkv_core::id::{Element, Slot};
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use super::client::combine;
use super::{
    Blinded, Commitments, Evaluation, OprfKey, Proof, Share, ToprfError, Verified, blind, evaluate,
    is_element,
};

const PW: &[u8] = b"correct horse battery staple";
const SEED: [u8; 32] = [1; 32];

struct Fleet {
    key: OprfKey,
    shares: Vec<Share>,
    commitments: Commitments,
    blinded: Blinded,
}

fn fleet(t: usize, n: usize) -> Fleet {
    let mut rng = ChaCha20Rng::seed_from_u64(1000 + (t * 100 + n) as u64);
    let key = OprfKey::random(&mut rng);
    let (shares, commitments) = key.split(t, n, &mut rng).unwrap();
    Fleet { key, shares, commitments, blinded: blind(PW, &mut rng).unwrap() }
}

impl Fleet {
    fn evaluation(&self, slot: u8) -> Evaluation {
        let share = &self.shares[usize::from(slot) - 1];
        let public = share.check(Slot(slot), &self.commitments).unwrap();
        evaluate(share, &public, Slot(slot), &SEED, b"cx", self.blinded.element()).unwrap()
    }
    fn verified(&self, slot: u8) -> Verified {
        self.blinded.verify(&self.commitments, Slot(slot), b"cx", &self.evaluation(slot)).unwrap()
    }
}

/// Encodings that every parser must refuse: the identity, non-canonical, negative, not on the group.
fn bad_elements() -> Vec<[u8; 32]> {
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f); // the field's order: a second encoding of the identity
    let mut p_plus_2 = p;
    p_plus_2[0] = 0xef;
    let mut one = [0; 32];
    one[0] = 1; // negative
    let mut high_bit = curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED.0;
    high_bit[31] |= 0x80;
    vec![[0; 32], p, p_plus_2, one, high_bit, [0xff; 32]]
}

#[test]
fn s01_every_set_of_t_regions_gives_what_the_whole_key_gives() {
    for n in [1u8, 3, 5, 7] {
        let t = n / 2 + 1;
        let f = fleet(t.into(), n.into());
        let whole = f.key.evaluate_whole(PW).unwrap();
        let all: Vec<Verified> = (1..=n).map(|slot| f.verified(slot)).collect();
        let mut sets = 0;
        for mask in 0u32..1 << n {
            let chosen: Vec<Verified> =
                (0..n).filter(|i| mask >> i & 1 == 1).map(|i| all[usize::from(i)].clone()).collect();
            let out = f.blinded.finish(PW, &f.commitments, &chosen);
            if mask.count_ones() == u32::from(t) {
                assert_eq!(out.unwrap().expose(), whole.expose(), "n {n} mask {mask:b}");
                sets += 1;
            } else {
                assert_eq!(out.unwrap_err(), ToprfError::Evaluations);
            }
        }
        assert!(sets >= 1);
        let mut backwards: Vec<Verified> = all.iter().rev().take(t.into()).cloned().collect();
        backwards.rotate_left(usize::from(t) / 2);
        assert_eq!(f.blinded.finish(PW, &f.commitments, &backwards).unwrap().expose(), whole.expose());
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let f = fleet(2, 3);
    assert_eq!(f.evaluation(2), f.evaluation(2));
}

#[test]
fn s02_bad_elements_are_refused_everywhere() {
    let f = fleet(2, 3);
    let good = f.evaluation(1);
    let public = f.commitments.public_share(Slot(1)).unwrap();
    for bad in bad_elements().into_iter().map(Element) {
        assert!(!is_element(&bad.0));
        assert_eq!(evaluate(&f.shares[0], &public, Slot(1), &SEED, b"cx", &bad), Err(ToprfError::Element));
        let answer = Evaluation { beta: bad, ..good };
        assert_eq!(
            f.blinded.verify(&f.commitments, Slot(1), b"cx", &answer).unwrap_err(),
            ToprfError::Element
        );
        let first = f.commitments.encoded()[0];
        for list in [vec![bad, first], vec![first, bad], vec![bad]] {
            assert_eq!(Commitments::parse(&list).unwrap_err(), ToprfError::Element);
        }
    }
    assert!(Commitments::parse(&[]).is_err());
    assert_eq!(Commitments::parse(f.commitments.encoded()).unwrap(), f.commitments);
}

#[test]
fn s02_bad_scalars_are_refused_everywhere() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let f = fleet(2, 3);
    for bad in [[0; 32], ORDER, [0xff; 32]] {
        assert_eq!(Share::from_slice(&bad).unwrap_err(), ToprfError::Scalar);
        assert_eq!(OprfKey::from_bytes(&bad).unwrap_err(), ToprfError::Scalar);
    }
    for at in [0, 32] {
        let mut answer = f.evaluation(1);
        answer.proof.0[at..at + 32].copy_from_slice(&ORDER);
        assert_eq!(
            f.blinded.verify(&f.commitments, Slot(1), b"cx", &answer).unwrap_err(),
            ToprfError::Scalar
        );
    }
    for len in [0, 31, 33, 64] {
        assert!(matches!(Share::from_slice(&vec![1; len]), Err(ToprfError::Length { .. })));
    }
    for len in [0, 63, 65] {
        assert!(matches!(Proof::from_slice(&vec![1; len]), Err(ToprfError::Length { .. })));
    }
}

#[test]
fn s03_the_blinded_element_sent_back_is_refused() {
    let f = fleet(2, 3);
    let answer = Evaluation { beta: *f.blinded.element(), ..f.evaluation(1) };
    assert_eq!(
        f.blinded.verify(&f.commitments, Slot(1), b"cx", &answer).unwrap_err(),
        ToprfError::Reflected(1)
    );
}

/// A whole key of 1, with shares whose proofs all hold: only the combination is the blinded element.
#[test]
fn s03_the_blinded_element_as_combination_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let key = OprfKey::from_bytes(Scalar::ONE.as_bytes()).unwrap();
    let (shares, commitments) = key.split(2, 3, &mut rng).unwrap();
    let f = Fleet { key, shares, commitments, blinded: blind(PW, &mut rng).unwrap() };
    let answers = [f.verified(1), f.verified(3)];
    assert_eq!(combine(&f.blinded, &f.commitments, &answers).unwrap(), *f.blinded.element());
    assert_eq!(f.blinded.finish(PW, &f.commitments, &answers).unwrap_err(), ToprfError::Reflected(0));
}

#[test]
fn s44_every_flipped_bit_and_every_other_statement_is_refused() {
    let f = fleet(2, 3);
    let good = f.evaluation(1);
    let refused = |slot: u8, context: &[u8], e: &Evaluation| {
        f.blinded.verify(&f.commitments, Slot(slot), context, e).is_err()
    };
    assert!(!refused(1, b"cx", &good));
    for bit in 0..256 {
        let mut e = good;
        e.beta.0[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(1, b"cx", &e), "bit {bit} of beta");
    }
    for bit in 0..512 {
        let mut e = good;
        e.proof.0[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(1, b"cx", &e), "bit {bit} of the proof");
    }
    assert!(refused(1, b"cy", &good) && refused(1, b"", &good), "another context");
    assert!(refused(2, b"cx", &good), "another slot");
    assert!(refused(0, b"cx", &good), "slot 0");
    let other = fleet(2, 5);
    assert!(f.blinded.verify(&other.commitments, Slot(1), b"cx", &good).is_err(), "another record");
    assert!(other.blinded.verify(&f.commitments, Slot(1), b"cx", &good).is_err(), "another blinded element");
}

/// S45: the error names the slot that answered with another share.
#[test]
fn s45_a_wrong_share_is_named() {
    let f = fleet(2, 3);
    let public = f.commitments.public_share(Slot(2)).unwrap();
    let wrong = evaluate(&f.shares[0], &public, Slot(2), &SEED, b"cx", f.blinded.element()).unwrap();
    assert_eq!(f.blinded.verify(&f.commitments, Slot(2), b"cx", &wrong).unwrap_err(), ToprfError::Proof(2));
}

#[test]
fn s44_answers_of_one_slot_or_another_attempt_do_not_combine() {
    let f = fleet(2, 3);
    let other = Fleet { blinded: blind(PW, &mut ChaCha20Rng::seed_from_u64(77)).unwrap(), ..fleet(2, 3) };
    for answers in [
        vec![],
        vec![f.verified(1)],
        vec![f.verified(1), f.verified(1)],
        vec![f.verified(1), f.verified(2), f.verified(3)],
        vec![f.verified(1), other.verified(2)],
    ] {
        assert_eq!(f.blinded.finish(PW, &f.commitments, &answers).unwrap_err(), ToprfError::Evaluations);
    }
}

#[test]
fn shares_are_checked_against_the_commitments() {
    let (f, other) = (fleet(3, 5), fleet(2, 5));
    for (share, slot) in f.shares.iter().zip(1u8..) {
        assert_eq!(share.check(Slot(slot), &f.commitments), f.commitments.public_share(Slot(slot)));
        assert_eq!(share.check(Slot(slot % 5 + 1), &f.commitments), Err(ToprfError::ShareMismatch));
        assert_eq!(share.check(Slot(slot), &other.commitments), Err(ToprfError::ShareMismatch));
        assert_eq!(share.check(Slot(0), &f.commitments), Err(ToprfError::SlotZero));
        assert!(
            Share::from_slice(share.to_bytes().as_slice()).unwrap().check(Slot(slot), &f.commitments).is_ok()
        );
    }
    assert_eq!(f.commitments.threshold(), 3);
    assert!(f.commitments.public_share(Slot(255)).is_ok());
}

#[test]
fn impossible_thresholds_and_passwords_are_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let key = OprfKey::random(&mut rng);
    for (t, n) in [(0, 3), (4, 3), (1, 0), (1, 256), (usize::MAX, usize::MAX)] {
        assert!(matches!(key.split(t, n, &mut rng), Err(ToprfError::Threshold { .. })), "{t} of {n}");
    }
    for pw in [vec![], vec![0; 65_536]] {
        assert_eq!(blind(&pw, &mut rng).unwrap_err(), ToprfError::Password);
        assert_eq!(key.evaluate_whole(&pw).unwrap_err(), ToprfError::Password);
    }
}

#[test]
fn debug_shows_no_secret() {
    let f = fleet(2, 3);
    let shown =
        format!("{:?} {:?} {:?} {:?}", f.key, f.shares[0], f.blinded, f.key.evaluate_whole(PW).unwrap());
    assert!(!shown.contains(&hex::encode(f.shares[0].to_bytes().as_slice())));
    assert!(shown.starts_with("OprfKey(..) Share(..) Blinded {") && shown.ends_with("Hardened(..)"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_or_round_trip(bytes: [u8; 32], long in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(share) = Share::from_slice(&bytes) {
            prop_assert_eq!(*share.to_bytes(), bytes);
        }
        if let Ok(c) = Commitments::parse(&[Element(bytes)]) {
            prop_assert_eq!(c.public_share(Slot(1)).unwrap(), Element(bytes));
        }
        prop_assert_eq!(Share::from_slice(&long).is_ok() && long.len() != 32, false);
        prop_assert_eq!(Proof::from_slice(&long).is_ok(), long.len() == 64);
    }

    #[test]
    fn arbitrary_evaluations_are_refused(beta: [u8; 32], c: [u8; 32], s: [u8; 32], slot: u8, honest_beta: bool) {
        let f = fleet(2, 3);
        let mut proof = [0; 64];
        proof[..32].copy_from_slice(&c);
        proof[32..].copy_from_slice(&s);
        proof[31] &= 0x0f; // often canonical
        proof[63] &= 0x0f;
        let beta = if honest_beta { f.evaluation(1).beta } else { Element(beta) };
        let answer = Evaluation { beta, proof: Proof(proof) };
        prop_assert!(f.blinded.verify(&f.commitments, Slot(slot), b"cx", &answer).is_err());
    }

    #[test]
    fn any_password_comes_out_the_same(pw in proptest::collection::vec(any::<u8>(), 1..200), seed: u64) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let base = fleet(2, 3);
        let f = Fleet { blinded: blind(&pw, &mut rng).unwrap(), ..base };
        let out = f.blinded.finish(&pw, &f.commitments, &[f.verified(3), f.verified(1)]).unwrap();
        let whole = f.key.evaluate_whole(&pw).unwrap();
        prop_assert_eq!(out.expose(), whole.expose());
    }
}
