//! The authority: one that signs, and while it is being replaced the next one, which is trusted first and signs later.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use zeroize::Zeroizing;

use super::seen::{SeenCertificate, read_chain};
use super::{BACKDATED, PkiError, renew_at};

/// How long a new authority is only trusted, so that every mounted Secret has it before anything is signed by it (the kubelet refreshes within
/// about a minute and a half, the programs look each half minute).
pub(crate) const TRUSTED_FIRST: i64 = 600;

/// What has to be done about the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityDue {
    /// There is none: make it.
    Make,
    /// It is in the last third of its life: make the next one, trusted only.
    MakeNext,
    /// The next one has been trusted for long enough: it signs from now on; the old one stays trusted.
    Promote,
    /// Nothing is signed by the old one any more.
    Retire,
    /// Nothing.
    Nothing,
}

/// Decides. `next` and `old`: as they lie in the Secret. `of_old`: is any leaf still signed by the old one?
pub fn authority_due(
    current: Option<&SeenCertificate>,
    next: Option<&SeenCertificate>,
    old: Option<&SeenCertificate>,
    of_old: bool,
    now: i64,
) -> AuthorityDue {
    let Some(current) = current else { return AuthorityDue::Make };
    if let Some(next) = next {
        let made = next.not_before.saturating_add(BACKDATED.as_secs().cast_signed());
        return if now >= made.saturating_add(TRUSTED_FIRST) {
            AuthorityDue::Promote
        } else {
            AuthorityDue::Nothing
        };
    }
    if old.is_some() && !of_old {
        return AuthorityDue::Retire;
    }
    if now >= renew_at(current.not_before, current.not_after) {
        return AuthorityDue::MakeNext;
    }
    AuthorityDue::Nothing
}

/// The authorities of a fleet as they lie in its Secret `<name>-ca`.
pub struct Authorities {
    /// Signs.
    pub current: Authority,
    /// Trusted, does not sign yet: certificate and key.
    pub next: Option<Authority>,
    /// Trusted, signs no more: its certificate.
    pub old: Option<String>,
}

/// One authority.
pub struct Authority {
    /// PEM.
    pub certificate: String,
    /// PEM; who has it can play every role.
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
    /// A new one with a P-256 key.
    pub fn generate(name: &str, validity: Duration, now: SystemTime) -> Result<Self, PkiError> {
        let fail = |e: rcgen::Error| PkiError::Make { name: name.to_owned(), why: e.to_string() };
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(fail)?;
        let from = now - BACKDATED;
        let start = rcgen::date_time_ymd(1970, 1, 1) + from.duration_since(UNIX_EPOCH).unwrap_or_default();
        params.not_before = start;
        params.not_after = start + BACKDATED + validity;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("{name} role CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(fail)?.pem();
        Ok(Self { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }

    /// As it was read.
    pub fn seen(&self) -> Option<SeenCertificate> {
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
    pub fn make(name: &str, validity: Duration, now: SystemTime) -> Result<Self, PkiError> {
        Ok(Self { current: Authority::generate(name, validity, now)?, next: None, old: None })
    }

    /// Every authority that is to be trusted, PEM: the one that signs first.
    pub fn trusted(&self) -> String {
        let next = self.next.as_ref().map_or("", |n| n.certificate.as_str());
        [self.current.certificate.as_str(), next, self.old.as_deref().unwrap_or_default()].concat()
    }

    /// The next one signs from now on.
    #[must_use]
    pub fn promoted(self) -> Self {
        match self.next {
            Some(next) => Self { old: Some(self.current.certificate), current: next, next: None },
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(from: i64, to: i64) -> SeenCertificate {
        SeenCertificate {
            not_before: from,
            not_after: to,
            key: String::new(),
            authority: None,
            subject: None,
            names: Vec::new(),
        }
    }

    #[test]
    fn a_new_authority_is_trusted_before_it_signs_and_the_old_one_until_nothing_is_left_of_it() {
        let current = seen(0, 9_000_000);
        let due = |next: Option<&SeenCertificate>, old, of_old, now| {
            authority_due(Some(&current), next, old, of_old, now)
        };
        assert_eq!(authority_due(None, None, None, false, 0), AuthorityDue::Make);
        assert_eq!(due(None, None, false, 5_999_999), AuthorityDue::Nothing);
        assert_eq!(due(None, None, false, 6_000_000), AuthorityDue::MakeNext);
        // Made at 6,000,000, so valid from an hour before.
        let next = seen(6_000_000 - 3_600, 15_000_000);
        assert_eq!(due(Some(&next), None, false, 6_000_000 + TRUSTED_FIRST - 1), AuthorityDue::Nothing);
        assert_eq!(due(Some(&next), None, false, 6_000_000 + TRUSTED_FIRST), AuthorityDue::Promote);
        assert_eq!(due(None, Some(&current), true, 1), AuthorityDue::Nothing);
        assert_eq!(due(None, Some(&current), false, 1), AuthorityDue::Retire);
    }

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
