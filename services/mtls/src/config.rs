//! rustls configurations. No session is ever resumed, because a resumed session would outlive a CA or role that was withdrawn.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::identity::{RoleResolver, WebResolver};
use crate::verify::{ClientJudge, ServerJudge};
use crate::{Error, Identity, Role, WebIdentity};

/// A server that accepts clients of certain roles. Without a call to [`ServerRole::admit`] it refuses every client.
#[derive(Debug)]
pub struct ServerRole {
    identity: Arc<Identity>,
    admitted: Vec<Role>,
    alpn: Vec<Vec<u8>>,
}

impl ServerRole {
    /// A server that presents `identity`.
    pub fn new(identity: Arc<Identity>) -> Self {
        Self { identity, admitted: Vec::new(), alpn: Vec::new() }
    }

    /// Accepts clients of this role as well.
    #[must_use]
    pub fn admit(mut self, role: Role) -> Self {
        self.admitted.push(role);
        self
    }

    /// Offers an ALPN protocol.
    #[must_use]
    pub fn alpn(mut self, protocol: &[u8]) -> Self {
        self.alpn.push(protocol.to_vec());
        self
    }

    /// The configuration. It follows the identity's reloads.
    pub fn build(self) -> Result<Arc<ServerConfig>, Error> {
        let judge = Arc::new(ClientJudge { identity: Arc::clone(&self.identity), admitted: self.admitted });
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(judge)
            .with_cert_resolver(Arc::new(RoleResolver(self.identity)));
        no_resumption(&mut config);
        config.alpn_protocols = self.alpn;
        Ok(Arc::new(config))
    }
}

/// A client that connects only to servers of one role.
#[derive(Debug)]
pub struct ClientRole {
    identity: Arc<Identity>,
    role: Role,
    name: Option<String>,
    alpn: Vec<Vec<u8>>,
}

impl ClientRole {
    /// A client that presents `identity` and accepts only servers of `role`.
    pub fn new(identity: Arc<Identity>, role: Role) -> Self {
        Self { identity, role, name: None, alpn: Vec::new() }
    }

    /// Accepts only the server of this name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Offers an ALPN protocol.
    #[must_use]
    pub fn alpn(mut self, protocol: &[u8]) -> Self {
        self.alpn.push(protocol.to_vec());
        self
    }

    /// The configuration. It follows the identity's reloads. The `ServerName` of a connection only fills the SNI and is not checked.
    pub fn build(self) -> Result<Arc<ClientConfig>, Error> {
        let judge = ServerJudge { identity: Arc::clone(&self.identity), role: self.role, name: self.name };
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_client_cert_resolver(Arc::new(RoleResolver(self.identity)));
        config.resumption = Resumption::disabled();
        config.alpn_protocols = self.alpn;
        Ok(Arc::new(config))
    }
}

/// A public HTTPS listener with HTTP/1.1 and TLS 1.3, without client certificates.
pub fn https_server(identity: Arc<WebIdentity>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(WebResolver(identity)));
    no_resumption(&mut config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn no_resumption(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}
