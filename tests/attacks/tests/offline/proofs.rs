//! S42: log, seeds, statements and proofs of a real run, together with one region's own secrets, give no other region's share.

use std::collections::HashSet;

use bkv_core::id::{Element, Slot};
use bkv_core::statement;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE as G;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};

use crate::seized::{Attempt, account, attempts, commitments, evaluation, share, vaults};

struct Seen {
    /// As both hashes of the proof take it in: `services/crypto/src/toprf/proof.rs`.
    statement: Vec<u8>,
    public: Element,
    seed: [u8; 32],
    c: Scalar,
    s: Scalar,
}

fn seen(attempt: &Attempt, slot: Slot, e: &bkv_crypto::toprf::Evaluation) -> Seen {
    let s = &attempt.statement;
    let context = statement::proof_context(s, slot).0;
    let public = commitments(s).public_share(slot).unwrap();
    let length = (context.len() as u64).to_be_bytes();
    let statement = [&length[..], &context, &[slot.0], &public.0, &s.blinded.0, &e.beta.0].concat();
    let half = |b: &[u8]| Scalar::from_canonical_bytes(b.try_into().unwrap()).unwrap();
    Seen { statement, public, seed: attempt.seed, c: half(&e.proof.0[..32]), s: half(&e.proof.0[32..]) }
}

/// x = (r − s)/c for every nonce that could be made from these secrets.
fn recover(e: &Seen, secrets: &[[u8; 32]]) -> Option<Scalar> {
    let stand_ins = secrets.iter().map(|s| &s[..]).chain([&[][..], &[0; 32]]);
    let mut nonces = Vec::new();
    for secret in stand_ins {
        for seed in [&e.seed[..], &[]] {
            for label in [b"bkv/dleq/1".as_slice(), b"bkv/dleq-challenge/1", b""] {
                let h = || Sha512::new_with_prefix(label).chain_update(secret).chain_update(seed);
                nonces.push(Scalar::from_hash(h().chain_update(&e.statement)));
                nonces.push(Scalar::from_hash(h()));
            }
        }
    }
    let xs = nonces.into_iter().map(|r| (r - e.s) * e.c.invert());
    xs.into_iter().find(|x| (x * G).compress().0 == e.public.0)
}

/// S42.
pub(crate) fn s42_a_real_runs_log_seeds_and_proofs_give_no_share() {
    let all = vaults();
    for mine in all {
        let me = mine.slot().unwrap();
        let (shard, id, of) = account(mine, "alice");
        let z = *mine.secrets(shard, &id, &of.live.unwrap().record).unwrap().z.expose();
        let own = *share(mine, "alice").to_bytes();
        let attempts = attempts(mine, "alice");
        assert!(attempts.len() >= 7, "{}", attempts.len());
        let delivery = *mine.delivery_key().unwrap().secret().unwrap();
        let index = *mine.fleet(shard).unwrap().unwrap().index.expose();
        let mut secrets = vec![own, z, delivery, index];
        secrets.extend(attempts.iter().map(|a| a.seed));
        for region in all.iter().filter(|v| v.slot().unwrap() != me) {
            let proofs: Vec<Seen> = attempts
                .iter()
                .map(|a| {
                    let (slot, e) = evaluation(region, "alice", a);
                    let again = evaluation(region, "alice", a).1;
                    assert_eq!(e, again, "a region that is asked twice gives the same evaluation");
                    seen(a, slot, &e)
                })
                .collect();
            for e in &proofs {
                assert_eq!(recover(e, &secrets), None);
                // The control: with that share the attacker computes the nonce, and the formula returns the share.
                let theirs = *share(region, "alice").to_bytes();
                assert_eq!(recover(e, &[theirs]).unwrap().to_bytes(), theirs);
            }
            // No two proofs have a nonce, or a challenge, in common: x = (s₁ − s₂)/(c₂ − c₁) otherwise.
            for (n, a) in proofs.iter().enumerate() {
                for b in &proofs[..n] {
                    let x = (a.s - b.s) * (b.c - a.c).invert();
                    assert_ne!((&x * G).compress().0, a.public.0);
                }
            }
            let challenges: HashSet<[u8; 32]> = proofs.iter().map(|p| p.c.to_bytes()).collect();
            assert_eq!(challenges.len(), proofs.len());
        }
    }
}
