//! Reads a configuration file.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::{ConfigError, located};

/// Reads the file and passes its text to `parse`, with the folder from which relative paths start.
pub(crate) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&str, &Path) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.into(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    // Make the path absolute: the path of the token's PIN file must be absolute, and the parent of a bare `vault.toml` is "".
    let absolute = std::path::absolute(path).map_err(failed)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    parse(&text, folder).map_err(|e| match e {
        ConfigError::Parse { why, .. } => ConfigError::Parse { path: absolute.clone(), why },
        e => e,
    })
}

/// Parses the text without checking the values.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    located::toml(text).map_err(|why| ConfigError::Parse { path: PathBuf::new(), why })
}
