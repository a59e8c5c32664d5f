//! The paths in a WebDAV server's list. OpenDAL takes paths below its root only, and cuts others at the wrong place.

use percent_encoding::percent_decode_str;

/// The server and the folder that all paths must lie in.
#[derive(Debug, Clone)]
pub(crate) struct Within {
    /// `HOST` or `HOST:PORT`.
    pub(crate) host: String,
    /// With slashes at its ends.
    pub(crate) root: String,
}

impl Within {
    /// The list with paths in place of URLs of this server. None if something in it lies elsewhere.
    pub(crate) fn paths(&self, list: &str) -> Option<String> {
        let mut out = String::with_capacity(list.len());
        let mut parts = list.split('<');
        out.push_str(parts.next().unwrap_or_default());
        let mut in_response = false;
        for part in parts {
            out.push('<');
            let (tag, text) = part.split_once('>').unwrap_or((part, ""));
            let name = tag.split_whitespace().next().unwrap_or_default();
            let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
            if in_response && local == "href" {
                let path = self.path(text.trim())?;
                out.push_str(tag);
                out.push('>');
                out.push_str(path);
            } else {
                out.push_str(part);
            }
            // Other elements have an href too. That of a response comes first in it.
            in_response = local == "response" && !name.starts_with('/');
        }
        Some(out)
    }

    fn path<'a>(&self, href: &'a str) -> Option<&'a str> {
        let on_server = ["https://", "http://"].iter().find_map(|scheme| href.strip_prefix(scheme));
        let path = match on_server {
            Some(rest) => rest.strip_prefix(self.host.as_str())?,
            None => href,
        };
        let plain = path.replace("&amp;", "&");
        let plain = percent_decode_str(&plain).decode_utf8().ok()?;
        let is_below = plain.starts_with(&self.root) || plain == self.root.trim_end_matches('/');
        is_below.then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_server_become_paths_and_what_lies_elsewhere_is_refused() {
        let within = Within { host: "h:8".into(), root: "/dav/my & files/".into() };
        let list = |href: &str| {
            format!(
                "<?xml?><d:response>\n<d:href>{href}</d:href><d:owner><d:href>/users/a</d:href></d:owner></d:response>"
            )
        };
        let path = "/dav/my%20&amp;%20files/x";
        assert_eq!(within.paths(&list(path)), Some(list(path)));
        for server in ["https://h:8", "http://h:8"] {
            assert_eq!(within.paths(&list(&format!("{server}{path}"))), Some(list(path)));
        }
        assert!(within.paths(&list("/dav/my%20&amp;%20files")).is_some());
        for elsewhere in
            ["/", "/dav/", "/x", "https://other/dav/my%20&amp;%20files/x", "https://h:80/dav", "", "%ff"]
        {
            assert_eq!(within.paths(&list(elsewhere)), None, "{elsewhere}");
        }
    }
}
