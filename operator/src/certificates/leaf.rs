//! Leaf certificates: one for each part of the fleet, with a role in its URI name, or DNS names for the web and the database. `issue` draws random keys.
//! What is due about a leaf is decided in `leaf_due`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_mtls::profile::{self, Validity};
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, KeyPair, SanType};
use zeroize::Zeroizing;

use super::authority::Authority;
use super::error::PkiError;
use super::renewal::BACKDATED;

/// The names in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The subject's common name, for people.
    pub common: String,
    /// `bkv://role/…`, if the holder has a role.
    pub uri: Option<String>,
    /// DNS names, if it is a server by name.
    pub dns: Vec<String>,
}

impl Names {
    /// As [`super::SeenCertificate::names`] has them.
    pub(super) fn sorted(&self) -> Vec<String> {
        let uri = self.uri.iter().map(|u| format!("uri:{u}"));
        let mut all: Vec<String> = self.dns.iter().map(|d| format!("dns:{d}")).chain(uri).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// A leaf as it goes into a Secret.
pub(crate) struct Leaf {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").finish_non_exhaustive()
    }
}

/// Issues a leaf. It is not valid for longer than its authority.
pub(crate) fn issue(
    authority: &Authority,
    names: &Names,
    validity: Duration,
    now: SystemTime,
) -> Result<Leaf, PkiError> {
    let fail = |e: rcgen::Error| PkiError::Make { name: names.common.clone(), why: e.to_string() };
    let mut alternative = CertificateParams::new(names.dns.clone()).map_err(fail)?.subject_alt_names;
    if let Some(uri) = &names.uri {
        alternative.push(SanType::URI(Ia5String::try_from(uri.as_str()).map_err(fail)?));
    }
    let until = match authority.seen() {
        Some(authority) => {
            let ends = Duration::from_secs(u64::try_from(authority.not_after).unwrap_or(0));
            (now + validity).min(UNIX_EPOCH + ends)
        }
        None => now + validity,
    };
    let validity = Validity { from: now - BACKDATED, until };
    let profile = if names.uri.is_some() { profile::role } else { profile::server };
    let params = profile(&names.common, alternative, validity).map_err(fail)?;
    let key = KeyPair::generate().map_err(fail)?;
    let certificate = params.signed_by(&key, &authority.issuer(&names.common)?).map_err(fail)?.pem();
    Ok(Leaf { certificate, key: Zeroizing::new(key.serialize_pem()) })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::authority::Authorities;
    use super::super::seen::read_chain;
    use super::*;

    pub(in super::super) fn names() -> Names {
        Names {
            common: "demo".into(),
            uri: Some("bkv://role/chatd/demo".into()),
            dns: vec!["demo-chatd.ns.svc".into(), "vault.example.org".into()],
        }
    }

    #[test]
    fn no_leaf_outlives_its_authority() {
        let now = SystemTime::now();
        let ours = Authorities::make("demo", Duration::from_hours(5), now).unwrap();
        let leaf = issue(&ours.current, &names(), Duration::from_hours(50), now).unwrap();
        let seen = read_chain(leaf.certificate.as_bytes()).unwrap().remove(0);
        assert!(seen.not_after <= ours.current.seen().unwrap().not_after);
    }

    /// `bkv-mtls` reads the role from a certificate that the operator issued.
    #[test]
    fn the_role_is_read_from_it() {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;
        let now = SystemTime::now();
        let ours = Authorities::make("demo", Duration::from_hours(5), now).unwrap();
        let leaf = issue(&ours.current, &names(), Duration::from_hours(2), now).unwrap();
        let der = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
        let role = bkv_mtls::RoleName::from_certificate(&der).unwrap();
        assert_eq!(role.to_uri(), "bkv://role/chatd/demo");
    }
}
