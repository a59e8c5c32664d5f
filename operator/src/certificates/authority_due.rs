//! Decides what is due about the built-in authority. Every pod trusts the next authority before it signs. Pure.

use super::renewal::renew_at;
use super::seen::SeenCertificate;

/// Seconds during which every pod trusts a new authority before it signs. Every mounted Secret must have it first: the kubelet refreshes within about a
/// minute and a half, and the programs look every few seconds. Pods trust an old authority for as long after its last leaf.
pub(crate) const OVERLAP: i64 = 600;

/// What has to be done about the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityDue {
    /// Make the first authority.
    Make,
    /// Make the next authority. It does not sign yet. The current one is in the last third of its validity.
    MakeNext,
    /// Start the overlap: every leaf's Secret contains the next authority, or no leaf of the old one is left.
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

/// Decides the next step. `spread`: every leaf's Secret contains the next authority. `of_old`: a leaf of the old one is left. The clock alone does not
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
}
