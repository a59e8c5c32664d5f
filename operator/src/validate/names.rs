//! Checked names: each rule has a type.

use std::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The resource's name: a DNS label of at most 20 characters that starts with a letter.
    FleetName
);
name!(
    /// A region's name: a DNS label of at most 16 characters that starts with a letter. The signed admission list contains it.
    RegionName
);
name!(
    /// A host's name, with or without `*.` before it.
    HostName
);
name!(
    /// An image's reference.
    Image
);

impl FleetName {
    /// None if `name` breaks the rule.
    pub fn new(name: &str) -> Option<Self> {
        label(name, 20).then(|| Self(name.to_owned()))
    }
}

impl RegionName {
    /// None if `name` breaks the rule.
    pub fn new(name: &str) -> Option<Self> {
        label(name, 16).then(|| Self(name.to_owned()))
    }
}

impl HostName {
    /// Accepts labels of letters, digits and hyphens. Refuses IP addresses: a certificate's DNS name can't hold one.
    pub fn new(name: &str) -> Option<Self> {
        let labels: Vec<&str> = name.strip_prefix("*.").unwrap_or(name).split('.').collect();
        let good = name.len() <= 253
            && labels.iter().all(|l| host_label(l))
            && labels.last().is_some_and(|l| !l.bytes().all(|b| b.is_ascii_digit()));
        good.then(|| Self(name.to_owned()))
    }
}

impl Image {
    /// Refuses spaces, quotes and the like. Only the registry knows whether the image exists.
    pub fn new(reference: &str) -> Option<Self> {
        let good = (1..=512).contains(&reference.len())
            && reference.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'[')
            && reference.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/:@+[]".contains(&b));
        good.then(|| Self(reference.to_owned()))
    }
}

/// A DNS label as Services have them: it starts with a letter.
fn label(text: &str, most: usize) -> bool {
    text.len() <= most && text.starts_with(|c: char| c.is_ascii_lowercase()) && host_label(text)
}

fn host_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| inner(b) || b == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

/// The name of an object of the API: labels with dots between.
pub(super) fn object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(host_label)
}

/// A key in a Secret or ConfigMap.
pub(super) fn data_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// The key of a label or an annotation: `example.org/name`.
pub(super) fn qualified(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(d, n)| (Some(d), n));
    domain.is_none_or(object_name) && plain(name) && !name.is_empty()
}

/// A label's value.
pub(super) fn label_value(value: &str) -> bool {
    value.is_empty() || plain(value)
}

/// At most 63 letters, digits, `-`, `.` and `_`, with a letter or digit at both ends.
fn plain(text: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_api_server_takes() {
        assert!(
            FleetName::new("a2345678901234567890").is_some() && RegionName::new("a-2345678901234z").is_some()
        );
        for bad in ["", "A", "1a", "-a", "a-", "a_b", "a.b", "a23456789012345678901"] {
            assert!(FleetName::new(bad).is_none(), "{bad}");
        }
        assert!(RegionName::new("a2345678901234567").is_none());
    }

    #[test]
    fn hosts_are_names_and_no_addresses() {
        for good in ["chat.example.org", "*.example.org", "localhost", "3com.example"] {
            assert!(HostName::new(good).is_some(), "{good}");
        }
        for bad in
            ["", "10.0.0.1", "a..b", "a.", "-a.b", "*", "a.*.b", "https://a", "a:8443", "A.example", "a b"]
        {
            assert!(HostName::new(bad).is_none(), "{bad}");
        }
        assert!(HostName::new(&vec!["a"; 128].join(".")).is_none());
    }

    #[test]
    fn images_hold_no_spaces_or_quotes() {
        assert!(Image::new("localhost:5000/bkv-vault:dev").is_some());
        assert!(Image::new("a@sha256:00").is_some());
        for bad in ["", " a", "a b", "a\"", "/a", "a\n"] {
            assert!(Image::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn keys_of_labels() {
        assert!(qualified("topology.kubernetes.io/region") && qualified("a"));
        for bad in ["", "/a", "a/", "a/b/c", "A B", "-a"] {
            assert!(!qualified(bad), "{bad}");
        }
    }
}
