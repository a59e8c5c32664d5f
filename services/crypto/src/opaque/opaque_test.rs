//! The flow, the inputs that it refuses, and the verify-only check against the library's own, bit by bit (S02, S03, S15, S43).

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use super::{
    ClientLogin, KE1_LEN, KE2_LEN, KE3_LEN, LoggedIn, OpaqueError, Registered, Server, Stretched,
    TRANSCRIPT_LEN, check_upload, login_start, register_start, server, success_proof, verify_ke3_signature,
    verify_success_proof,
};

pub(super) const Z: [u8; 32] = [0x21; 32];
pub(super) const SEED: [u8; 32] = [0x5e; 32];
pub(super) const CX: [u8; 32] = [0xc0; 32];

pub(super) fn pw(byte: u8) -> Stretched {
    Stretched::new([byte; 64])
}

pub(super) fn rng(n: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(n)
}

pub(super) fn register(z: &[u8; 32], password: &Stretched, rng: &mut ChaCha20Rng) -> Registered {
    let (state, request) = register_start(password, rng).unwrap();
    let response = server::registration_response(z, &request).unwrap();
    state.finish(password, &response, rng).unwrap()
}

struct Login {
    ke1: Vec<u8>,
    ke2: Vec<u8>,
    done: LoggedIn,
}

fn login(upload: &[u8], password: &Stretched, context: &[u8], n: u64) -> Result<Login, OpaqueError> {
    let mut rng = rng(n);
    let (state, ke1) = login_start(password, &mut rng)?;
    let (_, ke2) = Server::new(&Z)?.answer(&SEED, upload, context, &ke1)?;
    let done = state.finish(password, &ke2, context, &mut rng)?;
    Ok(Login { ke1, ke2, done })
}

#[test]
fn a_login_gives_the_export_key_of_the_registration_and_a_shared_session_key() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let l = login(&registered.upload, &pw(1), &CX, 2).unwrap();
    assert_eq!(l.done.export_key, registered.export_key);
    let (state, again) = Server::new(&Z).unwrap().answer(&SEED, &registered.upload, &CX, &l.ke1).unwrap();
    assert_eq!(again, l.ke2, "any replica answers the same bytes");
    assert_eq!(state.finish(&l.done.ke3, &CX).unwrap(), l.done.session_key);
    verify_ke3_signature(&registered.upload, &CX, &l.ke1, &l.ke2, &l.done.ke3).unwrap();
    assert_eq!((l.ke1.len(), l.ke2.len(), l.done.ke3.len()), (KE1_LEN, KE2_LEN, KE3_LEN));

    let (transcript, signature) = success_proof(&l.ke1, &l.ke2, &l.done.ke3).unwrap();
    assert_eq!(transcript.len(), TRANSCRIPT_LEN);
    verify_success_proof(&registered.upload, &CX, &transcript, &signature).unwrap();
    assert_eq!(
        verify_success_proof(&registered.upload, &[0; 32], &transcript, &signature),
        Err(OpaqueError::Ke3)
    );
}

/// A wrong password unmasks KE2 to noise, of which about half is a valid server key and half is not: both must return the same error.
#[test]
fn a_wrong_password_ends_at_ke2() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    for wrong in 2..34 {
        let refused = login(&registered.upload, &pw(wrong), &CX, u64::from(wrong)).map(|_| ()).unwrap_err();
        assert_eq!(refused, OpaqueError::WrongPassword, "password {wrong}");
    }
}

/// KE2 depends on z, seed, context and KE1: a second KE1 does not meet the same ephemeral key, and the seed alone does not reveal it.
#[test]
fn ke2_is_fresh_for_every_input() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let (_, ke1) = login_start(&pw(1), &mut rng(4)).unwrap();
    let (_, other) = login_start(&pw(1), &mut rng(5)).unwrap();
    let tail = |z: &[u8; 32], seed: &[u8; 32], cx: &[u8], ke1: &[u8]| {
        let ke2 = Server::new(z).unwrap().answer(seed, &registered.upload, cx, ke1).unwrap().1;
        (ke2[32..64].to_vec(), ke2[192..224].to_vec(), ke2[224..256].to_vec()) // masking nonce, server nonce, ephemeral key
    };
    let base = tail(&Z, &SEED, &CX, &ke1);
    for changed in [
        tail(&[1; 32], &SEED, &CX, &ke1),
        tail(&Z, &[1; 32], &CX, &ke1),
        tail(&Z, &SEED, b"", &ke1),
        tail(&Z, &SEED, &CX, &other),
    ] {
        assert!(base.0 != changed.0 && base.1 != changed.1 && base.2 != changed.2);
    }
}

/// S43: the verify-only check returns the same as the library's whole check, for every flipped bit of KE1, KE2 and KE3, except in the parts
/// that it ignores: the server's signature in KE2 and the client's MAC in KE3.
#[test]
fn s43_verify_only_equals_the_library_bit_by_bit() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let l = login(&registered.upload, &pw(1), &CX, 2).unwrap();
    let server = Server::new(&Z).unwrap();
    let whole = |ke1: &[u8], ke2: &[u8], ke3: &[u8]| {
        server
            .answer(&SEED, &registered.upload, &CX, ke1)
            .is_ok_and(|(state, expected)| expected == ke2 && state.finish(ke3, &CX).is_ok())
    };
    let ours = |ke1: &[u8], ke2: &[u8], ke3: &[u8]| {
        verify_ke3_signature(&registered.upload, &CX, ke1, ke2, ke3).is_ok()
    };
    assert!(whole(&l.ke1, &l.ke2, &l.done.ke3) && ours(&l.ke1, &l.ke2, &l.done.ke3));
    let good = [l.ke1, l.ke2, l.done.ke3];
    for (which, message) in good.iter().enumerate() {
        for bit in 0..message.len() * 8 {
            let mut m = good.clone();
            m[which][bit / 8] ^= 1 << (bit % 8);
            let unseen = match which {
                1 => (KE2_LEN - 128..KE2_LEN - 64).contains(&(bit / 8)),
                2 => bit / 8 >= 64,
                _ => false,
            };
            assert_eq!(ours(&m[0], &m[1], &m[2]), unseen, "message {which} bit {bit}");
            assert!(!whole(&m[0], &m[1], &m[2]), "message {which} bit {bit}");
        }
    }
}

/// S15: context and client key are signed too.
#[test]
fn s15_another_context_or_client_key_is_refused() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let l = login(&registered.upload, &pw(1), &CX, 2).unwrap();
    let check = |upload: &[u8], cx: &[u8]| verify_ke3_signature(upload, cx, &l.ke1, &l.ke2, &l.done.ke3);
    check(&registered.upload, &CX).unwrap();
    for bit in 0..256 {
        let mut cx = CX;
        cx[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(check(&registered.upload, &cx), Err(OpaqueError::Ke3));
        let mut upload = registered.upload.clone();
        upload[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(check(&upload, &CX), Err(OpaqueError::Ke3));
    }
    for cx in [b"".as_slice(), &CX[..31], &[CX.as_slice(), &[0]].concat()] {
        assert_eq!(check(&registered.upload, cx), Err(OpaqueError::Ke3));
    }
    assert_eq!(check(&registered.upload, &vec![0; 65_536]), Err(OpaqueError::Context));
}

/// S15: an old transcript under a new attempt.
#[test]
fn s15_a_replayed_transcript_is_refused() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let old = login(&registered.upload, &pw(1), &CX, 2).unwrap();
    let new = login(&registered.upload, &pw(1), &[0xc1; 32], 3).unwrap();
    let check = |cx: &[u8; 32], a: &Login, b: &Login, c: &Login| {
        verify_ke3_signature(&registered.upload, cx, &a.ke1, &b.ke2, &c.done.ke3).is_ok()
    };
    assert!(check(&CX, &old, &old, &old) && check(&[0xc1; 32], &new, &new, &new));
    assert!(!check(&[0xc1; 32], &old, &old, &old));
    assert!(
        !check(&[0xc1; 32], &new, &new, &old)
            && !check(&[0xc1; 32], &old, &new, &new)
            && !check(&[0xc1; 32], &new, &old, &new)
    );
}

/// S43: a rooted leader that knows z registers an upload of its own and makes a KE3 that its own replica would accept. Under the client key of the other
/// replicas' record it does not verify.
#[test]
fn s43_a_leader_that_knows_z_cannot_sign_for_the_client() {
    let real = register(&Z, &pw(1), &mut rng(1));
    let forged = register(&Z, &pw(7), &mut rng(9));
    let l = login(&forged.upload, &pw(7), &CX, 2).unwrap();
    verify_ke3_signature(&forged.upload, &CX, &l.ke1, &l.ke2, &l.done.ke3).unwrap();
    assert_eq!(verify_ke3_signature(&real.upload, &CX, &l.ke1, &l.ke2, &l.done.ke3), Err(OpaqueError::Ke3));
}

#[test]
fn s02_bad_elements_are_refused_at_every_input() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let server = Server::new(&Z).unwrap();
    let mut rng = rng(6);
    let (_, ke1) = login_start(&pw(1), &mut rng).unwrap();
    let (_, ke2) = server.answer(&SEED, &registered.upload, &CX, &ke1).unwrap();
    let mut non_canonical = [0xff; 32];
    (non_canonical[0], non_canonical[31]) = (0xed, 0x7f);
    let mut negative = [0; 32];
    negative[0] = 1;
    let put = |m: &[u8], at: usize, bad: &[u8; 32]| {
        let mut m = m.to_vec();
        m[at..at + 32].copy_from_slice(bad);
        m
    };
    for bad in [[0; 32], non_canonical, negative, [0xff; 32]] {
        assert!(matches!(server.register(&bad), Err(OpaqueError::Malformed(_))), "request");
        for at in [0, 64] {
            let answer = server.answer(&SEED, &registered.upload, &CX, &put(&ke1, at, &bad));
            assert!(matches!(answer, Err(OpaqueError::Malformed(_))), "KE1 at {at}");
        }
        for at in [0, 224] {
            let (state, _) = login_start(&pw(1), &mut rng).unwrap();
            let done = state.finish(&pw(1), &put(&ke2, at, &bad), &CX, &mut rng);
            assert!(matches!(done, Err(OpaqueError::Malformed(_))), "KE2 at {at}");
        }
        let (state, request) = register_start(&pw(1), &mut rng).unwrap();
        let response = server.register(&request).unwrap();
        let done = state.finish(&pw(1), &put(&response, 0, &bad), &mut rng);
        assert!(matches!(done, Err(OpaqueError::Malformed(_))), "response");
    }
    // The client's key: the identity and the other points of small order, and a second encoding of a key.
    for weak in curve25519_dalek::constants::EIGHT_TORSION
        .iter()
        .map(|p| p.compress().to_bytes())
        .chain([non_canonical])
    {
        let upload = put(&registered.upload, 0, &weak);
        assert!(check_upload(&upload).is_err());
        assert!(server.answer(&SEED, &upload, &CX, &ke1).is_err());
    }
    check_upload(&registered.upload).unwrap();
}

#[test]
fn s03_the_blinded_element_sent_back_is_refused() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let mut rng = rng(6);
    let (state, request) = register_start(&pw(1), &mut rng).unwrap();
    let mut response = server::registration_response(&Z, &request).unwrap();
    response[..32].copy_from_slice(&request);
    assert_eq!(state.finish(&pw(1), &response, &mut rng).unwrap_err(), OpaqueError::Reflected);

    let (state, ke1) = login_start(&pw(1), &mut rng).unwrap();
    let (_, mut ke2) = Server::new(&Z).unwrap().answer(&SEED, &registered.upload, &CX, &ke1).unwrap();
    ke2[..32].copy_from_slice(&ke1[..32]);
    assert_eq!(state.finish(&pw(1), &ke2, &CX, &mut rng).unwrap_err(), OpaqueError::Reflected);
}

#[test]
fn a_bad_mac_gives_the_leader_no_session_key() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let l = login(&registered.upload, &pw(1), &CX, 2).unwrap();
    let (state, _) = Server::new(&Z).unwrap().answer(&SEED, &registered.upload, &CX, &l.ke1).unwrap();
    let mut ke3 = l.done.ke3;
    *ke3.last_mut().unwrap() ^= 1;
    assert_eq!(state.finish(&ke3, &CX).unwrap_err(), OpaqueError::Ke3);
}

#[test]
fn debug_shows_no_secret() {
    let registered = register(&Z, &pw(1), &mut rng(1));
    let (state, _): (ClientLogin, _) = login_start(&pw(1), &mut rng(6)).unwrap();
    let shown = format!("{:?} {state:?} {:?} {:?}", registered.export_key, Server::new(&Z).unwrap(), pw(1));
    assert_eq!(shown, "ExportKey(..) ClientLogin(..) Server(..) Stretched(..)");
}
