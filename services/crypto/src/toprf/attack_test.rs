//! S42: tries to compute a share from proofs whose nonce is predictable, reused or related. The attacker has the proof, the seed, the log (so the whole
//! statement), and everything public.

use bkv_core::id::{Element, Slot};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE as G;
use curve25519_dalek::scalar::Scalar;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha512};

use super::element::point;
use super::proof::Statement;
use super::{Evaluation, OprfKey, PROOF_LEN, Proof, Share, evaluate};

const SEED: [u8; 32] = [9; 32];

struct Scene {
    share: Share,
    public: Element,
    blinded: Element,
}

fn scene() -> Scene {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let (mut shares, commitments) = OprfKey::random(&mut rng).split(2, 3, &mut rng).unwrap();
    let share = shares.remove(0);
    let public = share.check(Slot(1), &commitments).unwrap();
    Scene { share, public, blinded: *super::blind(b"password", &mut rng).unwrap().element() }
}

fn halves(proof: &Proof) -> (Scalar, Scalar) {
    let half = |b: &[u8]| Scalar::from_canonical_bytes(b.try_into().unwrap()).unwrap();
    (half(&proof.0[..32]), half(&proof.0[32..]))
}

/// Evaluates like a faulty region: `nonce` may omit the share or the statement.
fn evaluate_with_nonce(s: &Scene, context: &[u8], nonce: impl Fn(&Statement<'_>) -> Scalar) -> Evaluation {
    let b = point(&s.blinded.0).unwrap();
    let beta = Element((s.share.scalar() * b).compress().0);
    let st = Statement { context, slot: Slot(1), public: &s.public, blinded: &s.blinded, beta: &beta };
    let r = nonce(&st);
    let c = st.challenge(&(&r * G), &(r * b));
    let mut proof = [0; PROOF_LEN];
    proof[..32].copy_from_slice(c.as_bytes());
    proof[32..].copy_from_slice((r - c * s.share.scalar()).as_bytes());
    Evaluation { beta, proof: Proof(proof) }
}

/// All nonces that the attacker can compute from its data.
fn guesses(st: &Statement<'_>) -> Vec<Scalar> {
    let of = |h: Sha512| Scalar::from_hash(h);
    let mut all = Vec::new();
    for label in [b"bkv/dleq/1".as_slice(), b"bkv/dleq-challenge/1", b"bkv/dleq-nonce/1", b""] {
        let h = || Sha512::new_with_prefix(label);
        all.push(of(h().chain_update(SEED)));
        all.push(of(st.absorb(h().chain_update(SEED))));
        all.push(of(st.absorb(h())));
        for stand_in in [[0; 32], st.public.0, SEED] {
            all.push(of(st.absorb(h().chain_update(stand_in).chain_update(SEED))));
        }
    }
    all
}

/// x = (r − s)/c for each guess of r; the public share confirms the right one.
fn recover(s: &Scene, context: &[u8], e: &Evaluation) -> Option<Scalar> {
    let st = Statement { context, slot: Slot(1), public: &s.public, blinded: &s.blinded, beta: &e.beta };
    let (c, response) = halves(&e.proof);
    let xs = guesses(&st).into_iter().map(|r| (r - response) * c.invert());
    xs.into_iter().find(|x| (x * G).compress().0 == s.public.0)
}

/// Two proofs with one nonce: r = s₁ + c₁x = s₂ + c₂x.
fn recover_from_two(s: &Scene, a: &Evaluation, b: &Evaluation) -> Option<Scalar> {
    let ((c1, s1), (c2, s2)) = (halves(&a.proof), halves(&b.proof));
    let x = (s1 - s2) * (c2 - c1).invert();
    ((&x * G).compress().0 == s.public.0).then_some(x)
}

#[test]
fn s42_proof_seed_and_log_do_not_give_the_share() {
    let s = scene();
    let e = evaluate(&s.share, &s.public, Slot(1), &SEED, b"cx", &s.blinded).unwrap();
    assert_eq!(recover(&s, b"cx", &e), None);
}

#[test]
fn s42_test_of_the_test_a_nonce_from_the_seed_gives_the_share() {
    let s = scene();
    let e = evaluate_with_nonce(&s, b"cx", |st| {
        Scalar::from_hash(st.absorb(Sha512::new_with_prefix(b"bkv/dleq/1").chain_update(SEED)))
    });
    assert_eq!(recover(&s, b"cx", &e), Some(*s.share.scalar()));
}

#[test]
fn s42_proofs_of_other_statements_do_not_share_a_nonce() {
    let s = scene();
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    let other = *super::blind(b"other", &mut rng).unwrap().element();
    let first = evaluate(&s.share, &s.public, Slot(1), &SEED, b"cx", &s.blinded).unwrap();
    let others = [
        evaluate(&s.share, &s.public, Slot(1), &SEED, b"another cx", &s.blinded),
        evaluate(&s.share, &s.public, Slot(2), &SEED, b"cx", &s.blinded),
        evaluate(&s.share, &s.public, Slot(1), &SEED, b"cx", &other),
        evaluate(&s.share, &other, Slot(1), &SEED, b"cx", &s.blinded),
        evaluate(&s.share, &s.public, Slot(1), &[0; 32], b"cx", &s.blinded),
    ];
    for e in others {
        assert_eq!(recover_from_two(&s, &first, &e.unwrap()), None);
    }
}

#[test]
fn s42_test_of_the_test_one_nonce_for_two_statements_gives_the_share() {
    let s = scene();
    let nonce = |_: &Statement<'_>| {
        let h = Sha512::new_with_prefix(b"bkv/dleq/1").chain_update(s.share.to_bytes().as_slice());
        Scalar::from_hash(h.chain_update(SEED))
    };
    let (a, b) = (evaluate_with_nonce(&s, b"cx", nonce), evaluate_with_nonce(&s, b"another cx", nonce));
    assert_eq!(recover_from_two(&s, &a, &b), Some(*s.share.scalar()));
}

/// Related nonces: r₁ = a·r₂ + b. With s = r − c·x that is one equation for x.
fn recover_from_related(s: &Scene, one: &Evaluation, two: &Evaluation) -> Option<Scalar> {
    let ((c1, s1), (c2, s2)) = (halves(&one.proof), halves(&two.proof));
    let small = |n: i64| if n < 0 { -Scalar::from(n.unsigned_abs()) } else { Scalar::from(n.unsigned_abs()) };
    for (a, b) in (-3..=3).flat_map(|a| (-8..=8).map(move |b| (small(a), small(b)))) {
        let factor = c1 - a * c2;
        if factor != Scalar::ZERO {
            let x = (a * s2 + b - s1) * factor.invert();
            if (&x * G).compress().0 == s.public.0 {
                return Some(x);
            }
        }
    }
    None
}

/// The same attempt gives the same bytes at every request. The nonce of another attempt is unrelated.
#[test]
fn s42_an_attempt_has_one_proof_and_attempts_have_unrelated_nonces() {
    let s = scene();
    let attempt = |n: u8| {
        // As in the log: another seed and another statement for each attempt, B the same when a person's device repeats itself.
        let (seed, context) = ([n; 32], [n ^ 0x80; 32]);
        let first = evaluate(&s.share, &s.public, Slot(1), &seed, &context, &s.blinded).unwrap();
        let share = Share::from_slice(s.share.to_bytes().as_slice()).unwrap(); // after a restart
        assert_eq!(evaluate(&share, &s.public, Slot(1), &seed, &context, &s.blinded).unwrap(), first);
        first
    };
    let all: Vec<Evaluation> = (1..=8).map(attempt).collect();
    for (n, one) in all.iter().enumerate() {
        for two in all.iter().take(n) {
            assert_ne!(one.proof, two.proof);
            assert_eq!(recover_from_related(&s, one, two), None);
        }
    }
}

#[test]
fn s42_test_of_the_test_related_nonces_give_the_share() {
    let s = scene();
    let secret = Scalar::from_hash(Sha512::new_with_prefix(b"known to the region only"));
    let one = evaluate_with_nonce(&s, b"cx", |_| secret);
    for (a, b) in [(1u64, 1u64), (2, 0), (3, 7)] {
        let two = evaluate_with_nonce(&s, b"another cx", |_| Scalar::from(a) * secret + Scalar::from(b));
        assert_eq!(recover_from_related(&s, &two, &one), Some(*s.share.scalar()));
    }
}
