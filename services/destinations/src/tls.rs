//! Which certificates count: those of the system's authorities, or of the one that the person names.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::BuilderVerifierExt as _;

/// TLS 1.2 is allowed: many WebDAV servers have nothing newer, and what they store is encrypted before.
pub(crate) fn config(authority: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| e.to_string())?;
    let Some(path) = authority else {
        return Ok(builder.with_platform_verifier().map_err(|e| e.to_string())?.with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    let wrong = |why: &str| format!("{}: {why}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|_| wrong("it can't be read"))? {
        // The parser's own text contains a line of the file, which may be a key.
        let certificate = certificate.map_err(|_| wrong("not PEM, or cut off"))?;
        roots.add(certificate).map_err(|e| wrong(&e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
