//! A refusal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The body of every answer with an HTTP status of 400 or more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The part of the request or of the vault that is at fault.
    pub field: String,
    /// What is wrong with it.
    pub error: String,
    /// What the administrator should do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.error, self.remedy)
    }
}
