//! Copies this program to a volume. From there it runs in a container of another image.

use std::path::{Path, PathBuf};

use crate::file::{self, FileError};

/// Every user may run the program and no user may write to it.
const MODE: u32 = 0o555;
const NAME: &str = "copier";

/// Copies the running program to the file `destination`, or into it if it is a folder. Returns the path of the copy.
pub(crate) fn install(destination: &Path) -> Result<PathBuf, FileError> {
    let itself = std::env::current_exe()
        .map_err(|source| FileError::Read { path: "/proc/self/exe".into(), source })?;
    let to = if destination.is_dir() { destination.join(NAME) } else { destination.to_owned() };
    file::copy(&itself, &to, MODE)?;
    Ok(to)
}
