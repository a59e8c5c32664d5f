//! The connection to the database: waits for the database, migrates it, and follows changes of its URL.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::store::Metadata;
use super::url;
use crate::metrics::Metrics;

/// Time between two reads of the file. A mounted Secret changes behind a symbolic link, without a notification.
const LOOK: Duration = Duration::from_secs(5);

/// Connects and migrates. Tries again until that succeeds.
pub async fn connect(url_file: &Path, metadata: &Metadata, metrics: &Metrics) {
    loop {
        match attempt(url_file).await {
            Ok(pool) => {
                metadata.connected(pool);
                metadata.heard(true, metrics);
                return;
            }
            Err(e) => {
                tracing::warn!(error = %e, "no database yet; answers about accounts are stale");
                metadata.heard(false, metrics);
                sleep(Duration::from_secs(2)).await;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Url(#[from] url::UrlError),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

async fn attempt(url_file: &Path) -> Result<PgPool, ConnectError> {
    let (_, options) = url::read(url_file)?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(2))
        .connect_with(options)
        .await?;
    // sqlx takes an advisory lock, so that several ChatDs migrate one after the other.
    sqlx::migrate!("./migrations").run(&pool).await?;
    Ok(pool)
}

/// Follows the file for ever. Later connections use the new URL. If the file can't be used, the last good URL stays in use.
pub async fn follow_url(url_file: &Path, metadata: &Metadata) {
    let mut known: Option<Zeroizing<String>> = None;
    let mut failing = false;
    loop {
        match url::read(url_file) {
            Ok((text, options)) => {
                failing = false;
                if known.as_ref() != Some(&text)
                    && let Some(pool) = metadata.pool()
                {
                    // Also after the first read: the file may have changed since the pool was made.
                    pool.set_connect_options(options);
                    if known.replace(text).is_some() {
                        tracing::info!(file = %url_file.display(), "the database's URL changed: connections from now on use it");
                    }
                }
            }
            // Log only the first failure in a row.
            Err(e) if !failing => {
                failing = true;
                tracing::warn!(error = %e, "the database's URL can't be read again, the last good one stays in use");
            }
            Err(_) => {}
        }
        sleep(LOOK).await;
    }
}
