//! Is the token there? Told by what happened to the last operations, not by asking it again.

use std::time::SystemTime;

use crate::error::TokenError;

/// Whether the token serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// At least one session works.
    Up,
    /// None does; a connection is tried in the background.
    Down {
        /// What ended the last session, or refused the last connection.
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
