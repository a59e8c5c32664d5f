//! URLs.

use url::Url;

/// The port of an https URL. None for anything else, and for a URL with a user or password: every reader of the resource would see them.
pub(super) fn https_port(text: &str) -> Option<u16> {
    // The parser accepts malformed URLs: it drops spaces and an empty user, and reads the path as a missing host.
    let clean = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    let authority = text.strip_prefix("https://")?.split(['/', '?', '#']).next()?;
    if !clean || authority.is_empty() || authority.contains('@') {
        return None;
    }
    Url::parse(text).ok()?.port_or_known_default().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::https_port;

    #[test]
    fn ports_of_urls() {
        for (url, port) in [
            ("https://a.example/keys", Some(443)),
            ("https://a.example:8443", Some(8443)),
            ("https://[2001:db8::1]:8443/x", Some(8443)),
            ("https://[2001:db8::1]", Some(443)),
            ("http://a.example", None),
            ("https://", None),
            ("https://:443", None),
            ("https://a:0", None),
            ("https://a:x", None),
            ("https://me:secret@a.example", None),
            ("https://a b", None),
            ("https:///keys", None),
            ("https://@a.example", None),
        ] {
            assert_eq!(https_port(url), port, "{url}");
        }
    }
}
