//! The cryptography of one recovery, step by step: `cargo bench -p bkv-crypto --features bench-identity-ksf`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)] // a measurement: it may stop where it stands

use bkv_core::id::Slot;
use bkv_crypto::opaque::{KsfParams, Server, Stretch, login_start, register_start, verify_ke3_signature};
use bkv_crypto::toprf::{OprfKey, blind, evaluate};
use bkv_fixtures::{RUNS, measure};
use rand::rngs::OsRng;

fn main() {
    let rng = &mut OsRng;
    let (pw, seed, cx) = (b"correct horse battery staple", [1; 32], [2; 32]);
    let key = OprfKey::random(rng);
    let (shares, commitments) = key.split(2, 3, rng).unwrap();
    let hardened = key.evaluate_whole(pw).unwrap();
    let none = KsfParams { memory_kib: 0, passes: 0, lanes: 0 };
    let stretch = Stretch::within(none, &none, &none).unwrap();
    let z = [3; 32];
    let server = Server::new(&z).unwrap();
    let stretched = stretch.apply(&hardened).unwrap();
    let (state, request) = register_start(&stretched, rng).unwrap();
    let upload = state.finish(&stretched, &server.register(&request).unwrap(), rng).unwrap().upload;

    measure("client: blind", || blind(pw, &mut OsRng).unwrap());
    let blinded = blind(pw, rng).unwrap();
    let publics: Vec<_> =
        (1u8..).zip(&shares).map(|(i, s)| s.check(Slot(i), &commitments).unwrap()).collect();
    let slots = [Slot(1), Slot(2)];
    let answer =
        |i: usize| evaluate(&shares[i], &publics[i], slots[i], &seed, &cx, blinded.element()).unwrap();
    measure("region: evaluate and prove", || answer(0));
    let answers = [answer(0), answer(1)];
    measure("client: verify 2 proofs, combine, finish", || {
        let verified = [0, 1].map(|i| blinded.verify(&commitments, slots[i], &cx, &answers[i]).unwrap());
        blinded.finish(pw, &commitments, &verified).unwrap()
    });
    measure("client: KE1", || login_start(&stretched, &mut OsRng).unwrap());
    measure("leader: server keys from z", || Server::new(&z).unwrap());
    let (_, ke1) = login_start(&stretched, rng).unwrap();
    measure("leader: KE1 -> KE2 (server keys at hand)", || server.answer(&seed, &upload, &cx, &ke1).unwrap());

    let mut logins: Vec<_> = (0..=RUNS)
        .map(|_| {
            let (state, ke1) = login_start(&stretched, rng).unwrap();
            let (leader, ke2) = server.answer(&seed, &upload, &cx, &ke1).unwrap();
            (state, ke1, leader, ke2)
        })
        .collect();
    let (state, ke1, leader, ke2) = logins.pop().unwrap();
    let ke3 = state.finish(&stretched, &ke2, &cx, rng).unwrap().ke3;
    leader.finish(&ke3, &cx).unwrap();
    measure("client: KE2 -> KE3, export key (identity KSF)", || {
        let (state, _, _, ke2) = logins.pop().unwrap();
        state.finish(&stretched, &ke2, &cx, &mut OsRng).unwrap()
    });
    measure("replica: KE3, signature only", || verify_ke3_signature(&upload, &cx, &ke1, &ke2, &ke3).unwrap());
    let mut leaders: Vec<_> =
        (0..RUNS).map(|_| server.answer(&seed, &upload, &cx, &ke1).unwrap().0).collect();
    measure("leader: KE3, signature and MAC (state kept)", || {
        leaders.pop().unwrap().finish(&ke3, &cx).unwrap()
    });
}
