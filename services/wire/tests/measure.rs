//! Measures one handshake of the inner channel, in microseconds of wall time on one thread, best of twelve batches. It asserts nothing. Run it with
//! `cargo test --release -p bkv-wire --test measure -- --ignored --nocapture`
#![allow(clippy::unwrap_used)] // a measurement: it may stop where it stands

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use bkv_wire::channel::{Channel, ClientSettings, ServerSettings};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

const BATCHES: usize = 12;
const CALLS: u32 = 80;

fn measure<T>(name: &str, mut call: impl FnMut() -> T) {
    let best = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| drop(black_box(call())));
            start.elapsed() / CALLS
        })
        .min()
        .unwrap();
    println!("{name:50} {:>8.1} us", best.as_secs_f64() * 1e6);
}

#[test]
#[ignore = "measures, needs --release"]
fn measure_one_handshake() {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
    let key =
        any_ecdsa_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()))).unwrap();
    let spki = key.public_key().unwrap().as_ref().to_vec();
    let server = CertifiedKey::new(vec![CertificateDer::from(spki.clone())], key);
    let server = ServerSettings::new(Arc::new(server)).unwrap();
    let client = ClientSettings::new(vec![spki]).unwrap();
    measure("channel: handshake and a message, both ends", || {
        let (mut c, mut s) = (Channel::client(&client).unwrap(), Channel::server(&server).unwrap());
        c.send(&[7; 200]).unwrap();
        while s.next_message().unwrap().is_none() {
            s.feed(&c.take_outgoing()).unwrap();
            c.feed(&s.take_outgoing()).unwrap();
        }
    });
}
