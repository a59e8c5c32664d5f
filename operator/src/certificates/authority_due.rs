//! Decides what is due about the built-in authority. Every pod trusts the next authority before it signs. Pure.

use super::renewal::renew_at;
use super::requests::AuthorityKind;
use super::seen::SeenCertificate;

/// Seconds during which every pod trusts a new authority before it signs. Every mounted Secret must have it first: the kubelet refreshes within about a
/// minute and a half, and the programs look every few seconds. Pods trust an old authority for as long after its last leaf.
pub(crate) const OVERLAP: i64 = 600;
/// Seconds for which the next web authority is published before it signs. Clients outside of the cluster follow by hand: people ship an app, or edit a file.
const CLIENTS: i64 = 90 * 86_400;

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

/// When the next authority begins to sign, if the overlap counts since then. The one that signs must not end before, also if its validity is short or a pause has made the
/// operator late: a quarter of the time after its renewal was due is left.
pub(crate) fn promotes_at(kind: AuthorityKind, current: &SeenCertificate, since: i64) -> i64 {
    let soonest = since.saturating_add(OVERLAP);
    match kind {
        AuthorityKind::Role => soonest,
        AuthorityKind::Web => {
            let left = current.not_after.saturating_sub(renew_at(current.not_before, current.not_after));
            let latest = current.not_after.saturating_sub(left / 4);
            since.saturating_add(CLIENTS).min(latest).max(soonest)
        }
    }
}

/// Decides the next step. `spread`: every leaf's Secret contains the next authority. `of_old`: a leaf of the old one is left. The clock alone does not
/// decide: after a long pause the operator would sign with an authority that no pod trusts yet.
pub(crate) fn authority_due(
    kind: AuthorityKind,
    seen: SeenAuthorities<'_>,
    spread: bool,
    of_old: bool,
    now: i64,
) -> AuthorityDue {
    let Some(current) = seen.current else { return AuthorityDue::Make };
    let overlap = |ready: bool, ends: &dyn Fn(i64) -> i64, then: AuthorityDue| match seen.since {
        _ if !ready => AuthorityDue::Nothing,
        None => AuthorityDue::StartOverlap,
        Some(since) if now >= ends(since) => then,
        Some(_) => AuthorityDue::Nothing,
    };
    if seen.next.is_some() {
        return overlap(spread, &|since| promotes_at(kind, current, since), AuthorityDue::Promote);
    }
    if seen.old.is_some() {
        return overlap(!of_old, &|since| since.saturating_add(OVERLAP), AuthorityDue::Retire);
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
        let due = |seen: SeenAuthorities<'_>, spread, of_old, now| {
            authority_due(AuthorityKind::Role, seen, spread, of_old, now)
        };
        let (current, other) = (seen(0, 9_000_000), seen(5_000_000, 15_000_000));
        let at = SeenAuthorities { current: Some(&current), ..SeenAuthorities::default() };
        assert_eq!(due(SeenAuthorities::default(), false, false, 0), AuthorityDue::Make);
        assert_eq!(due(at, false, false, 5_999_999), AuthorityDue::Nothing);
        assert_eq!(due(at, false, false, 6_000_000), AuthorityDue::MakeNext);
        // The age of the next authority does not matter. Every leaf must have it, and then the overlap must pass.
        let next = SeenAuthorities { next: Some(&other), ..at };
        assert_eq!(due(next, false, false, 8_999_999), AuthorityDue::Nothing);
        assert_eq!(due(next, true, false, 8_000_000), AuthorityDue::StartOverlap);
        let next = SeenAuthorities { since: Some(8_000_000), ..next };
        assert_eq!(due(next, true, false, 8_000_000 + OVERLAP - 1), AuthorityDue::Nothing);
        assert_eq!(due(next, true, false, 8_000_000 + OVERLAP), AuthorityDue::Promote);
        let old = SeenAuthorities { old: Some(&other), ..at };
        assert_eq!(due(old, true, true, 1), AuthorityDue::Nothing);
        assert_eq!(due(old, true, false, 1), AuthorityDue::StartOverlap);
        let old = SeenAuthorities { since: Some(1), ..old };
        assert_eq!(due(old, true, false, OVERLAP), AuthorityDue::Nothing);
        assert_eq!(due(old, true, false, 1 + OVERLAP), AuthorityDue::Retire);
    }

    /// People have three months to give clients the next web authority, of the year that is left.
    #[test]
    fn clients_have_time_to_follow_the_web_authority() {
        const DAY: i64 = 86_400;
        let (web, role) = (AuthorityKind::Web, AuthorityKind::Role);
        let (years, begins) = (seen(0, 1_095 * DAY), 730 * DAY);
        assert_eq!(promotes_at(role, &years, begins), begins + OVERLAP);
        assert_eq!(promotes_at(web, &years, begins), begins + 90 * DAY);
        let next = seen(begins, 3_000 * DAY);
        let all =
            SeenAuthorities { current: Some(&years), next: Some(&next), old: None, since: Some(begins) };
        assert_eq!(authority_due(web, all, true, false, begins + 89 * DAY), AuthorityDue::Nothing);
        assert_eq!(authority_due(web, all, true, false, begins + 90 * DAY), AuthorityDue::Promote);
        // Of a short validity they get three quarters of what is left after the renewal.
        let short = seen(0, 90 * DAY);
        assert_eq!(promotes_at(web, &short, 60 * DAY), 82 * DAY + DAY / 2);
        // A late operator lets the next one sign before the current one ends, and never before the pods trust it.
        let late = 1_060 * DAY;
        assert_eq!(promotes_at(web, &years, late), late + OVERLAP);
    }
}
