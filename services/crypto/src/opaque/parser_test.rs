//! Property tests of all functions that parse bytes from outside.

use proptest::prelude::*;

use super::opaque_test::{CX, SEED, Z, pw, register, rng};
use super::{
    KE1_LEN, KE2_LEN, KE3_LEN, OpaqueError, REQUEST_LEN, RESPONSE_LEN, Server, TRANSCRIPT_LEN, UPLOAD_LEN,
    check_upload, login_start, register_start, server, success_proof, transcript, verify_ke3_signature,
    verify_success_proof,
};

fn bytes(around: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), around),
        proptest::collection::vec(any::<u8>(), around.saturating_sub(2)..around + 2),
        proptest::collection::vec(any::<u8>(), 0..600),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic_at_the_server(request in bytes(REQUEST_LEN), upload in bytes(UPLOAD_LEN), ke1 in bytes(KE1_LEN),
        ke2 in bytes(KE2_LEN), ke3 in bytes(KE3_LEN), kept in bytes(TRANSCRIPT_LEN), cx in bytes(32), sig: [u8; 32])
    {
        let response = server::registration_response(&Z, &request);
        prop_assert!(response.is_err() || (request.len() == REQUEST_LEN && response.is_ok_and(|r| r.len() == RESPONSE_LEN)));
        prop_assert!(check_upload(&upload).is_err() || upload.len() == UPLOAD_LEN);
        prop_assert!(Server::new(&Z).unwrap().answer(&SEED, &upload, &cx, &ke1).is_err() || ke1.len() == KE1_LEN);
        prop_assert!(verify_ke3_signature(&upload, &cx, &ke1, &ke2, &ke3).is_err());
        prop_assert_eq!(transcript(&ke1, &ke2).is_ok(), ke1.len() == KE1_LEN && ke2.len() == KE2_LEN);
        prop_assert_eq!(success_proof(&ke1, &ke2, &ke3).is_ok(), transcript(&ke1, &ke2).is_ok() && ke3.len() == KE3_LEN);
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&sig);
        prop_assert!(verify_success_proof(&upload, &cx, &kept, &signature).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused_by_the_client(response in bytes(RESPONSE_LEN), ke2 in bytes(KE2_LEN)) {
        let mut rng = rng(1);
        let (state, _) = register_start(&pw(1), &mut rng).unwrap();
        let right = response.len() == RESPONSE_LEN;
        let refused = state.finish(&pw(1), &response, &mut rng);
        let by_length = matches!(refused, Err(OpaqueError::Length { .. }));
        prop_assert_eq!(by_length, !right); // of the right length it may be two valid points by chance
        let (state, _) = login_start(&pw(1), &mut rng).unwrap();
        prop_assert!(state.finish(&pw(1), &ke2, &CX, &mut rng).is_err());
    }

    /// A change of one byte of an honest KE2 never gives a KE3.
    #[test]
    fn a_mutated_ke2_is_refused(at in 0..KE2_LEN, by in 1u8.., seed: u64) {
        let registered = register(&Z, &pw(1), &mut rng(seed));
        let mut rng = rng(seed ^ 1);
        let (state, ke1) = login_start(&pw(1), &mut rng).unwrap();
        let (_, mut ke2) = Server::new(&Z).unwrap().answer(&SEED, &registered.upload, &CX, &ke1).unwrap();
        ke2[at] ^= by;
        prop_assert!(state.finish(&pw(1), &ke2, &CX, &mut rng).is_err());
    }

    /// Any password, z and seed: it registers and logs in.
    #[test]
    fn honest_runs_succeed(z: [u8; 32], seed: [u8; 32], password: u8, n: u64, cx in proptest::collection::vec(any::<u8>(), 0..80)) {
        let registered = register(&z, &pw(password), &mut rng(n));
        prop_assert_eq!(registered.upload.len(), UPLOAD_LEN);
        let (state, ke1) = login_start(&pw(password), &mut rng(n ^ 1)).unwrap();
        let (leader, ke2) = Server::new(&z).unwrap().answer(&seed, &registered.upload, &cx, &ke1).unwrap();
        let done = state.finish(&pw(password), &ke2, &cx, &mut rng(n ^ 2)).unwrap();
        prop_assert!(verify_ke3_signature(&registered.upload, &cx, &ke1, &ke2, &done.ke3).is_ok());
        prop_assert_eq!(leader.finish(&done.ke3, &cx).unwrap(), done.session_key);
        prop_assert_eq!(done.export_key, registered.export_key);
    }
}
