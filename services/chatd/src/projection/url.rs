//! The database's URL: in a file, since it may hold a password, and the file may change while ChatD runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::store::Metadata;

/// Between looks at the file: a mounted Secret changes behind a symbolic link, which no notification tells of.
const LOOK: Duration = Duration::from_secs(5);

/// The file can't be used. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum UrlError {
    #[error("postgres.url_file {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "postgres.url_file {}: not a URL as postgres://user:password@host:5432/database?sslmode=verify-full&sslrootcert=/path",
        .0.display()
    )]
    Malformed(PathBuf),
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<(Zeroizing<String>, PgConnectOptions), UrlError> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| UrlError::File { path: path.to_owned(), source })?;
    // The parser's error could quote the URL.
    let options: PgConnectOptions = text.trim().parse().map_err(|_| UrlError::Malformed(path.to_owned()))?;
    Ok((text, options.application_name("bkv-chatd")))
}

/// Keeps the pool on what the file says, for ever: connections that are open go on, every later one uses the new URL. A file that can't be used leaves
/// the last good one in force.
pub async fn follow_url(url_file: &Path, metadata: &Metadata) {
    let mut known: Option<Zeroizing<String>> = None;
    let mut failing = false;
    loop {
        match read(url_file) {
            Ok((text, options)) => {
                failing = false;
                if known.as_ref() != Some(&text)
                    && let Some(pool) = metadata.pool()
                {
                    // At the first look too: the file may have changed since the pool was made.
                    pool.set_connect_options(options);
                    if known.replace(text).is_some() {
                        tracing::info!(file = %url_file.display(), "the database's URL changed: connections from now on use it");
                    }
                }
            }
            // Once per streak.
            Err(e) if !failing => {
                failing = true;
                tracing::warn!(error = %e, "the database's URL can't be read again, the last good one stays in use");
            }
            Err(_) => {}
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_told_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        for bad in
            ["postgres://bkv:hunter2@[/bkv", "postgres://bkv:hunter2@host/bkv?sslmode=maybe", "hunter2"]
        {
            std::fs::write(&path, bad).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("url") && !error.contains("hunter2"), "{error}");
        }
        std::fs::write(
            &path,
            "postgres://bkv:hunter2@db:5432/bkv?sslmode=verify-full&sslrootcert=/etc/ca.crt\n",
        )
        .unwrap();
        let (_, options) = read(&path).unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("db", 5432));
    }
}
