//! Verifies a peer on either side: its chain ends at a role CA that is in use now and is valid now, and purpose and role are right.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::{Identity, Role, RoleName};

fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

fn refuse() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// Accepts clients of certain roles.
#[derive(Debug)]
pub(crate) struct ClientJudge {
    pub(crate) identity: Arc<Identity>,
    pub(crate) admitted: Vec<Role>,
}

impl ClientCertVerifier for ClientJudge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Send none: the CAs may change while the process runs, and every peer has one certificate only.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let inner = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.identity.current().roots),
            Arc::new(aws_lc_rs::default_provider()),
        )
        .build()
        .map_err(|_| refuse())?;
        let verified = inner.verify_client_cert(leaf, intermediates, now)?;
        let name = RoleName::from_certificate(leaf).map_err(|_| refuse())?;
        if !self.admitted.contains(&name.role()) {
            tracing::warn!(peer = %name, "refused a client of another role");
            return Err(refuse());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Accepts servers of one role, or one server of that role.
#[derive(Debug)]
pub(crate) struct ServerJudge {
    pub(crate) identity: Arc<Identity>,
    pub(crate) role: Role,
    pub(crate) name: Option<String>,
}

impl ServerCertVerifier for ServerJudge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let roots = Arc::clone(&self.identity.current().roots);
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms().all)?;
        let found = RoleName::from_certificate(leaf).map_err(|_| refuse())?;
        if found.role() != self.role || self.name.as_deref().is_some_and(|n| n != found.name()) {
            tracing::warn!(peer = %found, wanted = %self.role, "refused a server of another role or name");
            return Err(refuse());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
