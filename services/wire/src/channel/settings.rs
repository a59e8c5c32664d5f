//! rustls configurations: a client makes one per fleet, a vault one for its key. A handshake then only clones two `Arc`s.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, client, version};

use super::{ChannelError, RawKeyVerifier};

/// ALPN of the inner channel. A later version of the messages will have another value.
pub const ALPN: &[u8] = b"bkv/1";

/// A client's settings for one fleet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientSettings(pub(super) Arc<ClientConfig>);

/// A vault's settings for its identity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerSettings(pub(super) Arc<ServerConfig>);

impl ClientSettings {
    /// `accepted`: SubjectPublicKeyInfo (DER) of every identity on the admission list.
    pub fn new(accepted: Vec<Vec<u8>>) -> Result<Self, ChannelError> {
        if accepted.is_empty() {
            return Err(ChannelError::Settings("the admission list names no identity".into()));
        }
        let verifier = RawKeyVerifier::new(move |key: &[u8]| accepted.iter().any(|k| k.as_slice() == key));
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| ChannelError::Settings(e.to_string()))?
            .dangerous() // "dangerous" because it is not the web's PKI: the root-signed list is ours
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = client::Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

impl ServerSettings {
    /// `key`: its only 'certificate' is the SubjectPublicKeyInfo (DER) of the identity. Its signing key may be in a token.
    pub fn new(key: Arc<CertifiedKey>) -> Result<Self, ChannelError> {
        if key.cert.len() != 1 {
            return Err(ChannelError::Settings("the identity is not one raw public key".into()));
        }
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| ChannelError::Settings(e.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// aws-lc with a reduced list of algorithms. An attacker who records the channel today must not be able to decrypt it later with a quantum computer.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..default_provider()
    }
}
