//! The built-in authority and its replacement. The next authority is trusted first and signs later.

use std::time::{Duration, SystemTime};

use bkv_mtls::profile::{self, Validity};
use rcgen::{Issuer, KeyPair};
use zeroize::Zeroizing;

use super::error::PkiError;
use super::renewal::{BACKDATED, renew_at};
use super::seen::{SeenCertificate, read_chain};

/// Seconds for which a new authority is trusted by every leaf before it signs. Every mounted Secret must have it first: the kubelet refreshes within
/// about a minute and a half, and the programs look every few seconds. An old authority stays trusted for as long after its last leaf.
pub(crate) const OVERLAP: i64 = 600;

/// What has to be done about the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityDue {
    /// Make the first authority.
    Make,
    /// Make the next authority, which is only trusted. The current one is in the last third of its validity.
    MakeNext,
    /// Write the current time as the start of the overlap: every leaf comes with the next authority, or no leaf is signed by the old one.
    StartOverlap,
    /// Let the next authority sign: it has been trusted for the overlap. The old one stays trusted.
    Promote,
    /// Remove the old authority: no leaf has been signed by it for the overlap.
    Retire,
    /// Nothing.
    Nothing,
}

/// The authorities as they lie in the Secret.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeenAuthorities<'a> {
    /// Signs.
    pub current: Option<&'a SeenCertificate>,
    /// Trusted, does not sign yet.
    pub next: Option<&'a SeenCertificate>,
    /// Trusted, signs no more.
    pub old: Option<&'a SeenCertificate>,
    /// Since when the overlap counts, seconds since the epoch.
    pub since: Option<i64>,
}

/// Decides the next step. `spread`: every leaf comes with the next authority. `of_old`: a leaf is still signed by the old one. The clock alone does not
/// decide: after a long pause the operator would sign with an authority that no pod trusts yet.
pub(crate) fn authority_due(seen: SeenAuthorities<'_>, spread: bool, of_old: bool, now: i64) -> AuthorityDue {
    let Some(current) = seen.current else { return AuthorityDue::Make };
    let overlap = |ready: bool, then: AuthorityDue| match seen.since {
        _ if !ready => AuthorityDue::Nothing,
        None => AuthorityDue::StartOverlap,
        Some(since) if now >= since.saturating_add(OVERLAP) => then,
        Some(_) => AuthorityDue::Nothing,
    };
    if seen.next.is_some() {
        return overlap(spread, AuthorityDue::Promote);
    }
    if seen.old.is_some() {
        return overlap(!of_old, AuthorityDue::Retire);
    }
    if now >= renew_at(current.not_before, current.not_after) {
        AuthorityDue::MakeNext
    } else {
        AuthorityDue::Nothing
    }
}

/// The authorities of a fleet as they lie in its Secret `<name>-ca`.
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
    /// PEM. An attacker who has it can issue a certificate for every role.
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
    pub(crate) fn generate(name: &str, validity: Duration, now: SystemTime) -> Result<Self, PkiError> {
        let fail = |e: rcgen::Error| PkiError::Make { name: name.to_owned(), why: e.to_string() };
        let key = KeyPair::generate().map_err(fail)?;
        let validity = Validity { from: now - BACKDATED, until: now + validity };
        let params = profile::authority(&format!("{name} role CA"), validity).map_err(fail)?;
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

    fn seen(from: i64, to: i64) -> SeenCertificate {
        SeenCertificate {
            not_before: from,
            not_after: to,
            key: String::new(),
            authority: None,
            subject: None,
            names: Vec::new(),
            serves: true,
            calls: true,
        }
    }

    #[test]
    fn a_new_authority_is_trusted_before_it_signs_and_the_old_one_until_nothing_is_left_of_it() {
        let (current, other) = (seen(0, 9_000_000), seen(5_000_000, 15_000_000));
        let at = SeenAuthorities { current: Some(&current), ..SeenAuthorities::default() };
        assert_eq!(authority_due(SeenAuthorities::default(), false, false, 0), AuthorityDue::Make);
        assert_eq!(authority_due(at, false, false, 5_999_999), AuthorityDue::Nothing);
        assert_eq!(authority_due(at, false, false, 6_000_000), AuthorityDue::MakeNext);
        // The age of the next authority does not matter. Every leaf must have it, and then the overlap must pass.
        let next = SeenAuthorities { next: Some(&other), ..at };
        assert_eq!(authority_due(next, false, false, 8_999_999), AuthorityDue::Nothing);
        assert_eq!(authority_due(next, true, false, 8_000_000), AuthorityDue::StartOverlap);
        let next = SeenAuthorities { since: Some(8_000_000), ..next };
        assert_eq!(authority_due(next, true, false, 8_000_000 + OVERLAP - 1), AuthorityDue::Nothing);
        assert_eq!(authority_due(next, true, false, 8_000_000 + OVERLAP), AuthorityDue::Promote);
        let old = SeenAuthorities { old: Some(&other), ..at };
        assert_eq!(authority_due(old, true, true, 1), AuthorityDue::Nothing);
        assert_eq!(authority_due(old, true, false, 1), AuthorityDue::StartOverlap);
        let old = SeenAuthorities { since: Some(1), ..old };
        assert_eq!(authority_due(old, true, false, OVERLAP), AuthorityDue::Nothing);
        assert_eq!(authority_due(old, true, false, 1 + OVERLAP), AuthorityDue::Retire);
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
