//! Where a person keeps credentials: AWS's environment variables and files, and `.netrc`.

mod aws;
mod netrc;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub(crate) use aws::Aws;
pub(crate) use netrc::Login;

/// A file of credentials is a few lines.
const LARGEST: u64 = 1 << 20;

/// Why there are no credentials. The text ends with the remedy and has nothing from the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file can't be read.
    #[error("can't read the credentials in {path}: {why}; check the path and its permissions", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file has no such section or machine.
    #[error("{path} has no {what}; add it, or name another file with --credentials", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// Nothing was found anywhere.
    #[error(
        "there are no credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials, or name a file of that form with --credentials"
    )]
    None,
    /// One of the two is set.
    #[error("{0} is set and {1} is not; set both")]
    Half(&'static str, &'static str),
}

/// The text of a file. None if there is none.
fn text(path: &Path) -> Result<Option<Zeroizing<String>>, CredentialsError> {
    let failed = |why: String| CredentialsError::File { path: path.to_owned(), why };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    // Large enough at once: a buffer that grows leaves copies behind.
    let length = file.metadata().map_or(0, |meta| meta.len()).min(LARGEST);
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    match file.take(LARGEST + 1).read_to_string(&mut text) {
        Ok(read) if read as u64 > LARGEST => Err(failed("it is larger than 1 MiB".into())),
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(failed(error.to_string())),
    }
}
