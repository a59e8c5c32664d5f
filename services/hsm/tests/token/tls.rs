//! The identity in rustls on both sides of a connection, as between vaults.

use std::io::Read;
use std::sync::Arc;

use bkv_wire::channel::RawKeyVerifier;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

use crate::Stand;

pub(crate) fn a_handshake_with_raw_public_keys_both_ways(stand: &Stand) {
    let token = stand.connect().unwrap();
    token.provision_blocking().unwrap();
    let spki = token.identity_spki_blocking().unwrap();
    handshake(&token, &spki).unwrap();
    let mut other = spki;
    *other.last_mut().unwrap() ^= 1;
    let error = handshake(&token, &other).unwrap_err();
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
}

fn handshake(token: &bkv_hsm::Token, pinned: &[u8]) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pin = || {
        let pinned = pinned.to_vec();
        Arc::new(RawKeyVerifier::new(move |key: &[u8]| key == pinned))
    };
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(pin())
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
            token.rustls_certified_key().unwrap(),
        )));
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pin())
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
            token.rustls_certified_key().unwrap(),
        )));
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut client = ClientConnection::new(Arc::new(client), "vault".try_into().unwrap())?;
    let mut wire = vec![];
    for _ in 0..10 {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut read = wire.as_slice();
        while !read.is_empty() {
            server.read_tls(&mut read.by_ref()).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut read = wire.as_slice();
        while !read.is_empty() {
            client.read_tls(&mut read.by_ref()).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(server.peer_certificates().unwrap()[0].as_ref(), pinned);
    Ok(())
}
