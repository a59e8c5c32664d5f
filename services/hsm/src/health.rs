//! Whether the token works. The results of the last operations decide, so reading the health makes no call into the module.

use std::time::SystemTime;

use crate::error::TokenError;

/// Whether the token works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// At least one session works.
    Up,
    /// No session works. The pool reconnects in the background.
    Down {
        /// Why the last session ended or the last connection failed.
        reason: TokenError,
        /// When the token went down.
        since: SystemTime,
    },
}

impl Health {
    /// Whether it is up.
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}
