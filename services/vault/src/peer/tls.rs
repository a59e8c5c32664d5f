//! Raw public keys (RFC 7250) on both sides. The admission list decides which are accepted.

use std::sync::Arc;

use bkv_wire::channel::RawKeyVerifier;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, ServerConfig, client, version};

use super::Admitted;

/// Names the version of the protocol between vaults. A change of a message needs a new number: a vault of another version is refused at the handshake.
pub(super) const ALPN: &[u8] = b"bkv-peer/4";

/// TLS settings for a call to one peer: accept exactly its identity.
pub(super) fn client(key: Arc<CertifiedKey>, identity: Vec<u8>) -> Result<ClientConfig, Error> {
    let verifier = RawKeyVerifier::new(move |key: &[u8]| key == identity);
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous() // not the web's PKI: the root-signed list is ours
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
    config.resumption = client::Resumption::disabled();
    config.enable_sni = false;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// TLS settings for incoming connections: accept any identity that is on the list at that moment.
pub(super) fn server(key: Arc<CertifiedKey>, admitted: Admitted) -> Result<ServerConfig, Error> {
    let verifier = RawKeyVerifier::new(move |key: &[u8]| admitted.node_of(key).is_some());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
