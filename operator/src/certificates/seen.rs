//! A certificate as it lies in a Secret.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The parts of a certificate that the operator checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCertificate {
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// SHA-256 of its subject's public key (SPKI DER), hexadecimal.
    pub key: String,
    /// The authority key identifier, hexadecimal, if present.
    pub authority: Option<String>,
    /// The subject key identifier, hexadecimal, if present.
    pub subject: Option<String>,
    /// URI, DNS and IP names, sorted.
    pub names: Vec<String>,
    /// Good for a server. True if it lists no usages.
    pub serves: bool,
    /// Good for a client. True if it lists no usages.
    pub calls: bool,
}

impl SeenCertificate {
    /// Is this its private key (PEM)?
    pub fn is_of(&self, key: &str) -> bool {
        use rcgen::PublicKeyData as _;
        use sha2::{Digest as _, Sha256};
        rcgen::KeyPair::from_pem(key)
            .is_ok_and(|pair| hex::encode(Sha256::digest(pair.subject_public_key_info())) == self.key)
    }
}

/// Every certificate of a PEM text. None if the text has no certificate, or one that can't be parsed.
pub fn read_chain(pem: &[u8]) -> Option<Vec<SeenCertificate>> {
    let mut chain = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.ok()?;
        let (_, c) = X509Certificate::from_der(der.as_ref()).ok()?;
        chain.push(seen(&c));
    }
    (!chain.is_empty()).then_some(chain)
}

fn seen(c: &X509Certificate<'_>) -> SeenCertificate {
    use sha2::{Digest as _, Sha256};
    use x509_parser::extensions::ParsedExtension;
    let (mut authority, mut subject) = (None, None);
    for extension in c.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(a) => {
                authority = a.key_identifier.as_ref().map(|k| hex::encode(k.0));
            }
            ParsedExtension::SubjectKeyIdentifier(k) => subject = Some(hex::encode(k.0)),
            _ => {}
        }
    }
    let mut names: Vec<String> = c
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|s| s.value.general_names.iter().filter_map(name).collect())
        .unwrap_or_default();
    names.sort();
    let uses = c.extended_key_usage().ok().flatten().map(|e| e.value);
    SeenCertificate {
        serves: uses.is_none_or(|u| u.any || u.server_auth),
        calls: uses.is_none_or(|u| u.any || u.client_auth),
        not_before: c.validity().not_before.timestamp(),
        not_after: c.validity().not_after.timestamp(),
        key: hex::encode(Sha256::digest(c.public_key().raw)),
        authority,
        subject,
        names,
    }
}

fn name(n: &GeneralName<'_>) -> Option<String> {
    match n {
        GeneralName::DNSName(d) => Some(format!("dns:{d}")),
        GeneralName::URI(u) => Some(format!("uri:{u}")),
        GeneralName::IPAddress(b) => match <[u8; 4]>::try_from(*b) {
            Ok(v4) => Some(format!("ip:{}", std::net::Ipv4Addr::from(v4))),
            Err(_) => <[u8; 16]>::try_from(*b).ok().map(|v6| format!("ip:{}", std::net::Ipv6Addr::from(v6))),
        },
        _ => None,
    }
}
