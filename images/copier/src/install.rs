//! The program puts itself onto a volume, from where it then runs in another image.

use std::path::{Path, PathBuf};

use crate::file::{self, FileError};

/// Anyone may run it, nobody write it.
const MODE: u32 = 0o555;
const NAME: &str = "copier";

/// Copies the running program to `destination`: into it if it is a folder. Returns where it is now.
pub(crate) fn install(destination: &Path) -> Result<PathBuf, FileError> {
    let itself = std::env::current_exe()
        .map_err(|source| FileError::Read { path: "/proc/self/exe".into(), source })?;
    let to = if destination.is_dir() { destination.join(NAME) } else { destination.to_owned() };
    file::copy(&itself, &to, MODE)?;
    Ok(to)
}
