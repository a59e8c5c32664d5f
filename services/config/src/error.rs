//! Errors of a configuration file.

use std::path::PathBuf;

/// The program refuses the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not TOML with these fields.
    #[error("{}: {why}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and field.
        why: String,
    },
    /// A field has a value that can't be used.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A field of `[token]` has a value that can't be used.
    #[error("token.{0}")]
    Token(FieldError),
}

/// A field has a value that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct FieldError {
    /// The field.
    pub field: &'static str,
    /// What is wrong, and which values are allowed.
    pub why: String,
}

impl FieldError {
    pub(crate) fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}
