//! The Secrets of ChatD's database.

use zeroize::Zeroizing;

use super::error::CredentialsError;
use super::given::given;
use crate::api_server::{ObjectError, SecretStore};
use crate::conditions::{Check, Trouble};
use crate::paths::{self, AUTHORITY_FILE, PASSWORD_FILE, URL_FILE};
use crate::random;
use crate::validate::{Fleet, KeyOf, Postgres};

/// What the plan must know of an external database's Secret. It is the default for every other database.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExternalDatabase {
    /// The Secret has a CA.
    pub authority: bool,
    /// The port in its URL.
    pub port: Option<u16>,
}

/// Writes the Secrets of a managed database, and checks the Secret of an external one.
pub(super) async fn database(
    secrets: &SecretStore<'_>,
    fleet: &Fleet,
) -> Result<(Option<Trouble>, ExternalDatabase), CredentialsError> {
    match &fleet.postgres {
        Postgres::None | Postgres::CloudNativePg { .. } => Ok((None, ExternalDatabase::default())),
        Postgres::External(key) => Ok(external(secrets, key).await?),
        Postgres::Managed(_) => {
            managed(secrets, fleet).await?;
            Ok((None, ExternalDatabase::default()))
        }
    }
}

/// Checks the Secret that people give.
async fn external(
    secrets: &SecretStore<'_>,
    key: &KeyOf,
) -> Result<(Option<Trouble>, ExternalDatabase), ObjectError> {
    let trouble = given(secrets, key, "the database's URL", Check::PostgresSecret).await?;
    let found = secrets.read(&key.name).await?.map(|(c, _)| c);
    let authority = found.as_ref().is_some_and(|c| c.get(AUTHORITY_FILE).is_some());
    let port = found.as_ref().and_then(|c| c.text(&key.key)).and_then(port);
    Ok((trouble, ExternalDatabase { authority, port }))
}

/// Makes the password once, and keeps ChatD's URL and authority up to date.
async fn managed(secrets: &SecretStore<'_>, fleet: &Fleet) -> Result<(), CredentialsError> {
    let names = fleet.names();
    let (name, url) = (names.postgres(), names.postgres_url());
    let found = secrets.ours(&name).await?;
    let kept = found.as_ref().and_then(|c| c.text(PASSWORD_FILE)).filter(|p| !p.is_empty());
    let password = if let Some(password) = kept {
        Zeroizing::new(password.to_owned())
    } else {
        let password = random::password()?;
        secrets.make(&name, [(PASSWORD_FILE, password.as_bytes())].into(), true).await?;
        password
    };
    let host = format!("{name}.{}.svc", fleet.namespace);
    let text = Zeroizing::new(format!(
        "postgres://bkv:{}@{host}:5432/bkv?sslmode=verify-full&sslrootcert={}",
        password.as_str(),
        paths::file(paths::POSTGRES, AUTHORITY_FILE)
    ));
    let authority = secrets.read(&names.postgres_tls()).await?;
    let ca = authority.as_ref().and_then(|(c, _)| c.text(AUTHORITY_FILE)).unwrap_or_default();
    let kept = secrets.ours(&url).await?;
    let same = kept
        .as_ref()
        .is_some_and(|c| c.text(URL_FILE) == Some(text.as_str()) && c.text(AUTHORITY_FILE) == Some(ca));
    if !same && !ca.is_empty() {
        let data = [(URL_FILE, text.as_bytes()), (AUTHORITY_FILE, ca.as_bytes())].into();
        secrets.write(&url, "Opaque", data, true).await?;
    }
    Ok(())
}

/// The port of a database's URL. None if the URL names none or does not parse: the NetworkPolicy then allows the default port.
fn port(url: &str) -> Option<u16> {
    reqwest::Url::parse(url).ok()?.port()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::port;
    use crate::changed_test::text;

    proptest! {
        #[test]
        fn s38_arbitrary_text_in_the_databases_secret_never_panics(text in text()) {
            let _ = port(&text);
            let _ = port(&format!("postgres://{text}"));
        }

        #[test]
        fn s38_the_port_is_the_one_that_the_url_names(host in "[a-z]{1,20}", number: u16) {
            prop_assert_eq!(port(&format!("postgres://bkv:secret@{host}:{number}/bkv")), Some(number));
            prop_assert_eq!(port(&format!("postgres://bkv:secret@{host}/bkv")), None);
        }
    }
}
