//! Whether the token serves. The results of the last operations decide; nothing asks the token for this.

use std::time::SystemTime;

use crate::error::TokenError;

/// Whether the token serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// At least one session works.
    Up,
    /// No session works. The pool reconnects in the background.
    Down {
        /// Why the last session ended or the last connection failed.
        reason: TokenError,
        /// Since when.
        since: SystemTime,
    },
}

impl Health {
    /// Whether it is up.
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}
