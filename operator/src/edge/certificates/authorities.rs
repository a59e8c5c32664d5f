//! The Secret of the built-in authority: the current one, the next one while it is spread, and the certificate of the old one.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::apply::ApplyError;
use crate::edge::secret_store::{Content, SecretStore};
use crate::pki::{Authorities, Authority, PkiError, read_chain};

pub(super) fn authorities(name: &str, content: Option<&Content>) -> Result<Option<Authorities>, PkiError> {
    let Some(content) = content else { return Ok(None) };
    let pair = |stem: &str| -> Option<Authority> {
        let certificate = content.text(&format!("{stem}.crt"))?.to_owned();
        let key = text(content, &format!("{stem}.key"));
        let seen = read_chain(certificate.as_bytes())?.into_iter().next()?;
        // A wrong key is reported now, and not when something has to be signed.
        seen.is_of(&key).then_some(Authority { certificate, key })
    };
    let unreadable = || PkiError::Authority {
        secret: name.to_owned(),
        why: "tls.crt and tls.key are no certificate and its key".into(),
    };
    let current = pair("tls").ok_or_else(unreadable)?;
    let old = content.text("old.crt").filter(|c| read_chain(c.as_bytes()).is_some()).map(str::to_owned);
    let since = content.text("since").and_then(|t| t.parse().ok());
    Ok(Some(Authorities { current, next: pair("next"), old, since }))
}

pub(super) async fn write_authorities(
    secrets: &SecretStore<'_>,
    name: &str,
    a: &Authorities,
) -> Result<(), ApplyError> {
    let mut data: BTreeMap<&str, &[u8]> =
        [("tls.crt", a.current.certificate.as_bytes()), ("tls.key", a.current.key.as_bytes())].into();
    if let Some(next) = &a.next {
        data.insert("next.crt", next.certificate.as_bytes());
        data.insert("next.key", next.key.as_bytes());
    }
    if let Some(old) = &a.old {
        data.insert("old.crt", old.as_bytes());
    }
    let since = a.since.map(|s| s.to_string());
    if let Some(since) = &since {
        data.insert("since", since.as_bytes());
    }
    // It outlives the resource. Clients have pinned it, and a resource that is deleted and applied again must still serve them.
    secrets.write(name, "kubernetes.io/tls", data, false).await
}

pub(super) fn text(content: &Content, key: &str) -> Zeroizing<String> {
    Zeroizing::new(content.text(key).unwrap_or_default().to_owned())
}
