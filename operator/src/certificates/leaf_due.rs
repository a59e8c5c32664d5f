//! Decides what is due about a leaf certificate. Pure.

use super::leaf::Names;
use super::renewal::renew_at;
use super::seen::SeenCertificate;

/// What has to be done about a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeafDue {
    /// Issue it: it is missing, in the last third of its validity, has other names, or was signed by another authority.
    Issue,
    /// Update only the trusted authorities beside it.
    Trust,
    /// Nothing.
    Nothing,
}

/// Decides what is due. `leaf`: as in its Secret. `authority`: the one that signs. `trusted`: the text beside the leaf, and as it should be.
pub(crate) fn leaf_due(
    leaf: Option<&SeenCertificate>,
    names: &Names,
    authority: &SeenCertificate,
    trusted: (&str, &str),
    now: i64,
) -> LeafDue {
    let Some(leaf) = leaf else { return LeafDue::Issue };
    let good = leaf.names == names.sorted()
        && now < renew_at(leaf.not_before, leaf.not_after)
        && leaf.authority.is_some()
        && leaf.authority == authority.subject
        // A leaf that outlives its authority would look valid, but peers would refuse it.
        && leaf.not_after <= authority.not_after;
    if !good {
        LeafDue::Issue
    } else if trusted.0 == trusted.1 {
        LeafDue::Nothing
    } else {
        LeafDue::Trust
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::super::authority::Authorities;
    use super::super::leaf::issue;
    use super::super::leaf::tests::names;
    use super::super::seen::read_chain;
    use super::*;

    fn seconds(t: SystemTime) -> i64 {
        i64::try_from(t.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
    }

    #[test]
    fn a_leaf_is_issued_once_and_again_when_names_authority_or_age_say_so() {
        let (now, hour) = (SystemTime::now(), Duration::from_hours(1));
        let ours = Authorities::make("demo", 100 * hour, now).unwrap();
        let other = Authorities::make("demo", 100 * hour, now).unwrap();
        let leaf = issue(&ours.current, &names(), 12 * hour, now).unwrap();
        let seen = read_chain(leaf.certificate.as_bytes()).unwrap().remove(0);
        let authority = ours.current.seen().unwrap();
        let due =
            |leaf: Option<&SeenCertificate>, names: &Names, authority: &SeenCertificate, now: SystemTime| {
                leaf_due(leaf, names, authority, ("a", "a"), seconds(now))
            };
        assert_eq!(due(Some(&seen), &names(), &authority, now), LeafDue::Nothing);
        assert_eq!(leaf_due(Some(&seen), &names(), &authority, ("a", "ab"), seconds(now)), LeafDue::Trust);
        assert_eq!(due(None, &names(), &authority, now), LeafDue::Issue);
        assert_eq!(due(Some(&seen), &names(), &other.current.seen().unwrap(), now), LeafDue::Issue);
        assert_eq!(due(Some(&seen), &Names { dns: Vec::new(), ..names() }, &authority, now), LeafDue::Issue);
        assert_eq!(due(Some(&seen), &names(), &authority, now + 9 * hour), LeafDue::Issue);
    }
}
