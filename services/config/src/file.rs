//! Reads a configuration file.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::ConfigError;

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
    toml::from_str(text).map_err(|e| ConfigError::Parse { path: PathBuf::new(), why: located(text, &e) })
}

/// The parser's message with line and field. The parser's own text contains the whole line. If an operator wrote a PIN or a password into the wrong
/// field, it would get into a log.
fn located(text: &str, e: &toml::de::Error) -> String {
    let at = e.span().map_or(0, |s| s.start);
    let before = text.get(..at).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    match line.split_once('=') {
        Some((field, _)) => format!("line {number}, `{}`: {}", field.trim(), e.message()),
        None => format!("line {number}: {}", e.message()),
    }
}
