//! The database's URL. It is in a file because it may contain a password.

use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

/// Why the file can't be used. The texts never contain the URL.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_reported_without_its_text() {
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
