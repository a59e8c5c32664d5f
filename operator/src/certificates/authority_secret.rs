//! The Secret of a built-in authority: the current one, the next one while it is spread, and the certificate of the old one.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::authority::{Authorities, Authority};
use super::error::PkiError;
use super::seen::read_chain;
use crate::api_server::{ObjectError, SecretContent, SecretStore};
use crate::paths::{CERTIFICATE_FILE, KEY_FILE};

const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const OLD_CERTIFICATE: &str = "old.crt";
/// Key with the time since when the leaves trust the next authority, seconds since the epoch.
const SINCE: &str = "since";

pub(super) fn authorities(
    name: &str,
    content: Option<&SecretContent>,
) -> Result<Option<Authorities>, PkiError> {
    let Some(content) = content else { return Ok(None) };
    let pair = |certificate: &str, key: &str| -> Option<Authority> {
        let certificate = content.text(certificate)?.to_owned();
        let key = text(content, key);
        let seen = read_chain(certificate.as_bytes())?.into_iter().next()?;
        // A wrong key is reported now, and not when something has to be signed.
        seen.is_of(&key).then_some(Authority { certificate, key })
    };
    let unreadable = || PkiError::Authority {
        secret: name.to_owned(),
        why: "tls.crt and tls.key are no certificate and its key".into(),
    };
    let current = pair(CERTIFICATE_FILE, KEY_FILE).ok_or_else(unreadable)?;
    let old = content.text(OLD_CERTIFICATE).filter(|c| read_chain(c.as_bytes()).is_some()).map(str::to_owned);
    let since = content.text(SINCE).and_then(|t| t.parse().ok());
    Ok(Some(Authorities { current, next: pair(NEXT_CERTIFICATE, NEXT_KEY), old, since }))
}

pub(super) async fn write_authorities(
    secrets: &SecretStore<'_>,
    name: &str,
    a: &Authorities,
) -> Result<(), ObjectError> {
    let mut data: BTreeMap<&str, &[u8]> =
        [(CERTIFICATE_FILE, a.current.certificate.as_bytes()), (KEY_FILE, a.current.key.as_bytes())].into();
    if let Some(next) = &a.next {
        data.insert(NEXT_CERTIFICATE, next.certificate.as_bytes());
        data.insert(NEXT_KEY, next.key.as_bytes());
    }
    if let Some(old) = &a.old {
        data.insert(OLD_CERTIFICATE, old.as_bytes());
    }
    let since = a.since.map(|s| s.to_string());
    if let Some(since) = &since {
        data.insert(SINCE, since.as_bytes());
    }
    // It outlives the resource. Clients have pinned the web authority, and a resource that is deleted and applied again must still serve them.
    secrets.write(name, "kubernetes.io/tls", data, false).await
}

pub(super) fn text(content: &SecretContent, key: &str) -> Zeroizing<String> {
    Zeroizing::new(content.text(key).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    /// The Secret of an authority that is being replaced.
    fn secret() -> BTreeMap<String, Vec<u8>> {
        let make = || Authority::generate("demo", Duration::from_hours(8_760), SystemTime::now()).unwrap();
        let (current, next) = (make(), make());
        [
            (CERTIFICATE_FILE, current.certificate.as_str()),
            (KEY_FILE, &current.key),
            (NEXT_CERTIFICATE, &next.certificate),
            (NEXT_KEY, &next.key),
            (OLD_CERTIFICATE, &next.certificate),
            (SINCE, "1790000000"),
        ]
        .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()))
        .into()
    }

    const KEYS: [&str; 6] = [CERTIFICATE_FILE, KEY_FILE, NEXT_CERTIFICATE, NEXT_KEY, OLD_CERTIFICATE, SINCE];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Only the current pair is indispensable. What else is unusable counts as missing.
        #[test]
        fn s38_a_changed_secret_of_the_authority_is_refused_or_read(key in proptest::sample::select(&KEYS[..]), value: Vec<u8>) {
            let mut data = secret();
            data.insert(key.to_owned(), value);
            let read = authorities("demo-ca", Some(&SecretContent::of(data)));
            if [CERTIFICATE_FILE, KEY_FILE].contains(&key) {
                prop_assert!(read.is_err());
            } else {
                let found = read.unwrap().unwrap();
                prop_assert!(found.next.is_some() || key.starts_with("next"));
                prop_assert!(found.old.is_some() || key == OLD_CERTIFICATE);
            }
        }
    }
}
