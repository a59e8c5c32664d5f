//! The Secrets of ChatD's database.

use zeroize::Zeroizing;

use super::given::given;
use crate::apply::ApplyError;
use crate::conditions::{Check, Trouble};
use crate::edge::random::letters;
use crate::edge::secret_store::SecretStore;
use crate::validate::{Fleet, Postgres};

/// What the plan must know of an external database's Secret.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::edge) struct Database {
    /// The Secret has a CA.
    pub authority: bool,
    /// The port in its URL.
    pub port: Option<u16>,
}

/// Writes the Secrets of a managed database, and checks the Secret of an external one.
pub(super) async fn database(
    secrets: &SecretStore<'_>,
    fleet: &Fleet,
) -> Result<(Option<Trouble>, Database), ApplyError> {
    let names = fleet.names();
    match &fleet.postgres {
        Postgres::None | Postgres::CloudNativePg { .. } => Ok((None, Database::default())),
        Postgres::External(key) => {
            let trouble = given(secrets, key, "the database's URL", Check::PostgresSecret).await?;
            let found = secrets.read(&key.name).await?.map(|(c, _)| c);
            let authority = found.as_ref().is_some_and(|c| c.get("ca.crt").is_some());
            let port = found
                .as_ref()
                .and_then(|c| c.text(&key.key))
                .and_then(|url| reqwest::Url::parse(url).ok()?.port());
            Ok((trouble, Database { authority, port }))
        }
        Postgres::Managed(_) => {
            let (name, url) = (names.postgres(), names.postgres_url());
            let found = secrets.ours(&name).await?;
            let kept = found.as_ref().and_then(|c| c.text("password")).filter(|p| !p.is_empty());
            let password = if let Some(password) = kept {
                Zeroizing::new(password.to_owned())
            } else {
                let password = letters()?;
                secrets.make(&name, [("password", password.as_bytes())].into(), true).await?;
                password
            };
            let host = format!("{name}.{}.svc", fleet.namespace);
            let text = Zeroizing::new(format!(
                "postgres://bkv:{}@{host}:5432/bkv?sslmode=verify-full&sslrootcert=/etc/bkv-postgres/ca.crt",
                password.as_str()
            ));
            let authority = secrets.read(&names.postgres_tls()).await?;
            let ca = authority.as_ref().and_then(|(c, _)| c.text("ca.crt")).unwrap_or_default();
            let kept = secrets.ours(&url).await?;
            let same = kept
                .as_ref()
                .is_some_and(|c| c.text("url") == Some(text.as_str()) && c.text("ca.crt") == Some(ca));
            if !same && !ca.is_empty() {
                secrets
                    .write(&url, "Opaque", [("url", text.as_bytes()), ("ca.crt", ca.as_bytes())].into(), true)
                    .await?;
            }
            Ok((None, Database { authority: true, port: None }))
        }
    }
}
