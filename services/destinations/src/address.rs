//! What a person types: `s3://BUCKET/PREFIX`, `webdavs://USER@HOST/PATH`.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

/// The place of backups on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A bucket, and what the names of all objects begin with.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Without slashes at its ends. May be empty.
        prefix: String,
    },
    /// A folder of a WebDAV server.
    WebDav {
        /// `https://HOST:PORT`, or `http://` if the person wrote `webdav://`.
        server: Url,
        /// The folder, decoded, without slashes at its ends. May be empty.
        path: String,
        /// User name, if the address has one.
        user: Option<String>,
    },
}

/// Why a text is no address. The text ends with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another kind of service.
    #[error(
        "backups can't go to {0}://; use a folder, s3://BUCKET/PREFIX or webdavs://HOST/PATH (other services can be reached through rclone)"
    )]
    Scheme(String),
    /// A password in an address ends up in the shell's history and in the list of processes.
    #[error("a password does not belong in an address; put it into a file and name that with --credentials")]
    Password,
    /// Anything else.
    #[error("{0}")]
    Wrong(&'static str),
}

const S3_FORM: &str = "this is no address of a bucket; write s3://BUCKET or s3://BUCKET/PREFIX";
const DAV_FORM: &str = "this is no address of a WebDAV folder; write webdavs://HOST/PATH, with USER@ before the host if it needs one";
const PARTS: &str =
    "a part of the path is empty, '.', '..' or has control characters; write the path without them";

impl Address {
    /// Reads an address. None for a text that is a path of this machine.
    pub fn parse(text: &str) -> Option<Result<Self, AddressError>> {
        let (scheme, rest) = text.split_once("://")?;
        let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(in_scheme) {
            return None;
        }
        Some(match scheme.to_ascii_lowercase().as_str() {
            "s3" => s3(rest),
            "webdavs" | "davs" => webdav("https", rest),
            "webdav" | "dav" => webdav("http", rest),
            other => Err(AddressError::Scheme(other.to_owned())),
        })
    }
}

/// A path without slashes at its ends.
fn path(text: &str) -> Result<String, AddressError> {
    let path = text.trim_matches('/');
    let sound = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    if path.is_empty() || path.split('/').all(sound) {
        Ok(path.to_owned())
    } else {
        Err(AddressError::Wrong(PARTS))
    }
}

fn s3(rest: &str) -> Result<Address, AddressError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if bucket.is_empty() || bucket.len() > 255 || !bucket.chars().all(in_name) {
        return Err(AddressError::Wrong(S3_FORM));
    }
    Ok(Address::S3 { bucket: bucket.to_owned(), prefix: path(prefix)? })
}

fn webdav(scheme: &str, rest: &str) -> Result<Address, AddressError> {
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| AddressError::Wrong(DAV_FORM))?;
    if url.password().is_some() {
        return Err(AddressError::Password);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::Wrong(DAV_FORM));
    }
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| AddressError::Wrong(DAV_FORM))
    };
    let user = Some(decoded(url.username())?).filter(|user| !user.is_empty());
    let path = path(&decoded(url.path())?)?;
    let mut server = url;
    // The results say whether this kind of URL can have a user or a path. HTTP's can.
    let _ = server.set_username("");
    server.set_path("");
    Ok(Address::WebDav { server, path, user })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (begin, path) = match self {
            Self::S3 { bucket, prefix } => (format!("s3://{bucket}"), prefix),
            Self::WebDav { server, path, user } => {
                let scheme = if server.scheme() == "https" { "webdavs" } else { "webdav" };
                let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                let port = server.port().map(|port| format!(":{port}")).unwrap_or_default();
                (format!("{scheme}://{user}{}{port}", server.host_str().unwrap_or_default()), path)
            }
        };
        let slash = if path.is_empty() { "" } else { "/" };
        write!(f, "{begin}{slash}{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, AddressError> {
        Address::parse(text).unwrap().map(|address| address.to_string())
    }

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, want) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://my.bucket/a b/c/", "s3://my.bucket/a b/c"),
            (
                "webdavs://cloud.example.org/remote.php/dav/files/anna/",
                "webdavs://cloud.example.org/remote.php/dav/files/anna",
            ),
            ("davs://anna@Example.org:8443/My%20Files", "webdavs://anna@example.org:8443/My Files"),
            ("webdav://127.0.0.1:8080", "webdav://127.0.0.1:8080"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(want));
        }
        assert_eq!(
            Address::parse("dav://anna%40home@h/x").unwrap().unwrap(),
            Address::WebDav {
                server: Url::parse("http://h").unwrap(),
                path: "x".into(),
                user: Some("anna@home".into())
            }
        );
    }

    #[test]
    fn paths_are_no_addresses_and_wrong_addresses_say_what_is_right() {
        for path in ["/mnt/disk", "a:b", "://x", "a b://c"] {
            assert_eq!(Address::parse(path), None, "{path}");
        }
        assert_eq!(parsed("webdavs://anna:secret@h/x"), Err(AddressError::Password));
        assert!(parsed("gs://bucket").unwrap_err().to_string().contains("gs://"));
        for text in
            ["s3://", "s3:///x", "s3://anna@bucket/x", "webdavs://", "webdavs://h/x?y", "webdavs://h/x#y"]
        {
            assert!(matches!(parsed(text), Err(AddressError::Wrong(S3_FORM | DAV_FORM))), "{text}");
        }
        for text in ["s3://b/a/../c", "s3://b/a//c", "webdavs://h/a%2F..%2Fb", "s3://b/a\n"] {
            assert_eq!(parsed(text), Err(AddressError::Wrong(PARTS)), "{text}");
        }
    }
}
