//! The key material of a built-in authority. `generate` draws random keys. What is due about an authority is decided in `authority_due`.

use std::time::{Duration, SystemTime};

use bkv_mtls::profile::{self, Validity};
use rcgen::{Issuer, KeyPair};
use zeroize::Zeroizing;

use super::error::PkiError;
use super::renewal::BACKDATED;
use super::seen::{SeenCertificate, read_chain};

/// The authorities of one kind as they lie in a Secret.
pub(crate) struct Authorities {
    /// Signs.
    pub current: Authority,
    /// Trusted, does not sign yet: certificate and key.
    pub next: Option<Authority>,
    /// Trusted, signs no more: its certificate.
    pub old: Option<String>,
    /// Since when the overlap counts, seconds since the epoch.
    pub since: Option<i64>,
}

/// One authority.
pub(crate) struct Authority {
    /// PEM.
    pub certificate: String,
    /// PEM. An attacker who has that of the role authority can issue a certificate for every role.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one with a P-256 key. `name` is its common name.
    pub(crate) fn generate(name: &str, validity: Duration, now: SystemTime) -> Result<Self, PkiError> {
        let fail = |e: rcgen::Error| PkiError::Make { name: name.to_owned(), why: e.to_string() };
        let key = KeyPair::generate().map_err(fail)?;
        let validity = Validity { from: now - BACKDATED, until: now + validity };
        let params = profile::authority(name, validity).map_err(fail)?;
        let certificate = params.self_signed(&key).map_err(fail)?.pem();
        Ok(Self { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }

    /// As it was read.
    pub(crate) fn seen(&self) -> Option<SeenCertificate> {
        read_chain(self.certificate.as_bytes())?.into_iter().next()
    }

    pub(super) fn issuer(&self, name: &str) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let fail = |e: rcgen::Error| PkiError::Make { name: name.to_owned(), why: e.to_string() };
        let key = KeyPair::from_pem(&self.key).map_err(fail)?;
        Issuer::from_ca_cert_pem(&self.certificate, key).map_err(fail)
    }
}

impl Authorities {
    /// A first one.
    pub(crate) fn make(name: &str, validity: Duration, now: SystemTime) -> Result<Self, PkiError> {
        Ok(Self { current: Authority::generate(name, validity, now)?, next: None, old: None, since: None })
    }

    /// PEM of every authority to trust. The one that signs comes first.
    pub(crate) fn trusted(&self) -> String {
        let next = self.next.as_ref().map_or("", |n| n.certificate.as_str());
        [self.current.certificate.as_str(), next, self.old.as_deref().unwrap_or_default()].concat()
    }

    /// Makes the next authority the current one, and the current one the old one.
    #[must_use]
    pub(crate) fn promoted(self) -> Self {
        match self.next {
            Some(next) => {
                Self { old: Some(self.current.certificate), current: next, next: None, since: None }
            }
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion_keeps_both_trusted() {
        let (now, year) = (SystemTime::now(), Duration::from_hours(8760));
        let mut a = Authorities::make("demo", year, now).unwrap();
        let first = a.current.certificate.clone();
        a.next = Some(Authority::generate("demo", year, now).unwrap());
        let second = a.next.as_ref().unwrap().certificate.clone();
        assert!(a.trusted().starts_with(&first) && a.trusted().contains(&second));
        let a = a.promoted();
        assert!(a.current.certificate == second && a.next.is_none());
        assert!(a.trusted().starts_with(&second) && a.trusted().contains(&first));
        assert_eq!(read_chain(a.trusted().as_bytes()).unwrap().len(), 2);
    }
}
