//! Errors of tokens. Each error names the token, what happened, and the remedy.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::counters::{Op, Outcome};

/// Why a token that worked no longer does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GoneReason {
    /// `CKR_DEVICE_REMOVED`, `CKR_TOKEN_NOT_PRESENT`, …: the slot is empty.
    Removed,
    /// `CKR_SESSION_HANDLE_INVALID`, `CKR_SESSION_CLOSED`: the token was reset.
    SessionLost,
    /// `CKR_USER_NOT_LOGGED_IN`: another part of this process, or the device, ended the login.
    LoggedOut,
    /// `CKR_DEVICE_ERROR`, `CKR_DEVICE_MEMORY`: the device reports a fault.
    DeviceError,
    /// `CKR_GENERAL_ERROR`, `CKR_FUNCTION_FAILED`, …: the module failed without a reason.
    ModuleFailed,
    /// A key that existed before can't be found.
    KeyVanished,
    /// Calls hang in every session.
    NoAnswer,
    /// No connection was made yet, or none since the last loss.
    NotConnected,
}

impl GoneReason {
    /// The name in metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::SessionLost => "session_lost",
            Self::LoggedOut => "logged_out",
            Self::DeviceError => "device_error",
            Self::ModuleFailed => "module_failed",
            Self::KeyVanished => "key_vanished",
            Self::NoAnswer => "no_answer",
            Self::NotConnected => "not_connected",
        }
    }
}

impl fmt::Display for GoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => "it was removed",
            Self::SessionLost => "its sessions were lost",
            Self::LoggedOut => "this process was logged out",
            Self::DeviceError => "the device reports an error",
            Self::ModuleFailed => "the module failed without a reason",
            Self::KeyVanished => "a key vanished",
            Self::NoAnswer => "it does not answer",
            Self::NotConnected => "it is not connected",
        })
    }
}

/// An operation on a token that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The module's file can't be loaded.
    #[error("PKCS#11 module {path:?} cannot be loaded: {why}; install the module or correct `module`")]
    Module {
        /// The configured path.
        path: PathBuf,
        /// The loader's error.
        why: String,
    },
    /// `C_Initialize` fails.
    #[error("PKCS#11 module {path:?} does not start: {why}; {hint}")]
    ModuleStart {
        /// The configured path.
        path: PathBuf,
        /// The module's error.
        why: String,
        /// What to check.
        hint: String,
    },
    /// The module lists no token with the configured label.
    #[error(
        "no token labelled {token:?} in {module:?}, which lists {found:?}; correct `token_label`, or initialise the token; {hint}"
    )]
    NoToken {
        /// The configured label.
        token: String,
        /// The module.
        module: PathBuf,
        /// The labels that the module lists.
        found: Vec<String>,
        /// What to check.
        hint: String,
    },
    /// The module lists several tokens with the configured label.
    #[error(
        "{count} tokens are labelled {token:?}; give each token its own label or its own token directory"
    )]
    TokenNotUnique {
        /// The configured label.
        token: String,
        /// The number of tokens.
        count: usize,
    },
    /// The PIN file can't be used.
    #[error("PIN file {path:?} {why}")]
    PinFile {
        /// The configured path.
        path: PathBuf,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// The token refuses the PIN. This process never offers that PIN again, because tokens lock after a few wrong PINs.
    #[error(
        "token {token:?} refuses the PIN in {pin_file:?}; correct the file (this PIN is not offered again)"
    )]
    PinRefused {
        /// The token.
        token: String,
        /// The PIN's file.
        pin_file: PathBuf,
    },
    /// The token is locked after wrong PINs.
    #[error("token {token:?} is locked after wrong PINs; its security officer must unlock it")]
    PinLocked {
        /// The token.
        token: String,
    },
    /// The token holds another vault's keys.
    #[error(
        "token {token:?} belongs to vault '{theirs}', this is vault '{ours}'; give this vault its own token, or correct its name"
    )]
    ForeignVault {
        /// The token.
        token: String,
        /// This vault.
        ours: String,
        /// The vault whose keys the token has.
        theirs: String,
    },
    /// A key of the ceremony is missing.
    #[error(
        "token {token:?} has no key {key:?}; run the ceremony (POST init), or attach the token that has it"
    )]
    NotProvisioned {
        /// The token.
        token: String,
        /// The missing label.
        key: String,
    },
    /// The token has no key for this epoch.
    #[error(
        "token {token:?} has no key for epoch {epoch}: the key was destroyed, or this token never had it"
    )]
    NoEpoch {
        /// The token.
        token: String,
        /// The epoch.
        epoch: u64,
    },
    /// The objects in the token are not what a finished ceremony leaves.
    #[error(
        "token {token:?}: {what}; list the objects with pkcs11-tool --list-objects, then attach the right token or restore this one"
    )]
    Damaged {
        /// The token.
        token: String,
        /// The object and what is wrong with it.
        what: String,
    },
    /// A key under our label could leave the token. An attacker with the PIN may have stored it.
    #[error(
        "token {token:?}: key {key:?} could leave the token ({why}), so the ceremony did not make it; find out who made it, then destroy it"
    )]
    WeakKey {
        /// The token.
        token: String,
        /// The key's label.
        key: String,
        /// The attribute.
        why: &'static str,
    },
    /// The call did not return in time. The pool replaces its session.
    #[error("token {token:?} did not answer {} within {after:?}", .op.name())]
    Hung {
        /// The token.
        token: String,
        /// The operation.
        op: Op,
        /// The deadline.
        after: Duration,
    },
    /// The token is gone. The pool reconnects in the background.
    #[error("token {token:?} is gone: {reason}{}; it is being reconnected", .detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Gone {
        /// The token.
        token: String,
        /// The reason, as far as the module shows it.
        reason: GoneReason,
        /// The module's error, or why the last connection failed.
        detail: Option<String>,
    },
    /// The queue is full.
    #[error("token {token:?} has {waiting} operations waiting, so {} is refused; raise `pool` or send less", .op.name())]
    Busy {
        /// The token.
        token: String,
        /// The operation.
        op: Op,
        /// The number of waiting operations.
        waiting: usize,
    },
    /// A ceremony or an epoch change is under way in another thread.
    #[error("another change to the keys of token {token:?} is under way; try again when it has ended")]
    ChangeUnderWay {
        /// The token.
        token: String,
    },
    /// The module refuses the operation.
    #[error("token {token:?} refuses {what}: {why}")]
    Refused {
        /// The token.
        token: String,
        /// The operation.
        what: &'static str,
        /// The module's error.
        why: String,
    },
    /// The module returns a wrong result.
    #[error("token {token:?} returned a wrong result for {what}: {why}; use another module")]
    BadAnswer {
        /// The token.
        token: String,
        /// The operation.
        what: &'static str,
        /// What is wrong with the result.
        why: &'static str,
    },
    /// A thread can't be started.
    #[error(
        "no thread can be started for token {token:?}: {why}; raise the limit on processes or lower `pool`"
    )]
    NoThread {
        /// The token.
        token: String,
        /// The system's error.
        why: String,
    },
    /// The handle was closed.
    #[error("token {token:?}: its handle was closed")]
    Closed {
        /// The token.
        token: String,
    },
    /// The configuration can't be used.
    #[error("token configuration")]
    Config(#[from] bkv_config::FieldError),
}

impl TokenError {
    /// The outcome in the metrics.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Gone { .. } => Outcome::Gone,
            Self::Hung { .. } => Outcome::Hung,
            Self::Busy { .. } => Outcome::Busy,
            _ => Outcome::Refused,
        }
    }

    /// True if the session that returned this error must be dropped.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}
