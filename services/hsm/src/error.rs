//! What can go wrong with a token: each error names the token, what happened, and what a person can do.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::counters::{Op, Outcome};

/// Why a token that worked no longer does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GoneReason {
    /// `CKR_DEVICE_REMOVED`, `CKR_TOKEN_NOT_PRESENT`, …: nothing in the slot.
    Removed,
    /// `CKR_SESSION_HANDLE_INVALID`, `CKR_SESSION_CLOSED`: the token was reset under us.
    SessionLost,
    /// `CKR_USER_NOT_LOGGED_IN`: somebody logged this application out.
    LoggedOut,
    /// `CKR_DEVICE_ERROR`, `CKR_DEVICE_MEMORY`: the device reports a fault.
    DeviceError,
    /// `CKR_GENERAL_ERROR`, `CKR_FUNCTION_FAILED`, …: the module failed without a reason.
    ModuleFailed,
    /// A key that was there a moment ago can't be found any more.
    KeyVanished,
    /// Every session hangs.
    NoAnswer,
    /// Not connected yet, or not again.
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
            Self::ModuleFailed => "the module failed without saying why",
            Self::KeyVanished => "a key vanished from it",
            Self::NoAnswer => "it does not answer",
            Self::NotConnected => "it is not connected",
        })
    }
}

/// An operation on a token that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The module's file can't be loaded.
    #[error("PKCS#11 module {path:?} cannot be loaded: {why}; install it or correct `module`")]
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
        /// What to look at.
        hint: String,
    },
    /// No token of that label.
    #[error(
        "no token labelled {token:?} in {module:?}, which has {found:?}; correct `token_label`, or initialise the token; {hint}"
    )]
    NoToken {
        /// The configured label.
        token: String,
        /// The module.
        module: PathBuf,
        /// Labels that are there.
        found: Vec<String>,
        /// What to look at.
        hint: String,
    },
    /// More than one token of that label.
    #[error("{count} tokens are labelled {token:?}; give each its own label, or its own token directory")]
    TokenNotUnique {
        /// The configured label.
        token: String,
        /// How many.
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
    /// The token refuses the PIN. This process never offers that PIN again: tokens lock after a few wrong ones.
    #[error(
        "token {token:?} refuses the PIN in {pin_file:?}; correct the file (it is not offered again until it changes)"
    )]
    PinRefused {
        /// The token.
        token: String,
        /// Where the PIN came from.
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
        /// Whose keys are there.
        theirs: String,
    },
    /// A key of the ceremony isn't there.
    #[error(
        "token {token:?} has no key {key:?}; run the ceremony (POST init), or attach the token that has it"
    )]
    NotProvisioned {
        /// The token.
        token: String,
        /// The label that is missing.
        key: String,
    },
    /// No such epoch key.
    #[error("token {token:?} has no key for epoch {epoch}: it was destroyed, or never made here")]
    NoEpoch {
        /// The token.
        token: String,
        /// The epoch.
        epoch: u64,
    },
    /// Keys of a finished ceremony are damaged.
    #[error(
        "token {token:?}: {what}; attach the right token or restore this one, then look at it with pkcs11-tool --list-objects"
    )]
    Damaged {
        /// The token.
        token: String,
        /// Which object, and how.
        what: String,
    },
    /// A key under our label could be taken out of the token.
    #[error(
        "token {token:?}: key {key:?} is not safe there ({why}); the ceremony did not make it like that: destroy it and find out who did"
    )]
    WeakKey {
        /// The token.
        token: String,
        /// The key's label.
        key: String,
        /// Which attribute.
        why: &'static str,
    },
    /// No answer in time; the session is given up and replaced.
    #[error("token {token:?} did not answer {} within {after:?}", .op.name())]
    Hung {
        /// The token.
        token: String,
        /// What was asked.
        op: Op,
        /// How long was waited.
        after: Duration,
    },
    /// The token is gone; it is reconnected in the background.
    #[error("token {token:?} is gone: {reason}{}; it is being reconnected", .detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Gone {
        /// The token.
        token: String,
        /// Why, as far as is known.
        reason: GoneReason,
        /// The module's error, or why the last connection failed.
        detail: Option<String>,
    },
    /// More operations wait than may.
    #[error("token {token:?} has {waiting} operations waiting, {} is refused; raise `pool` or send less", .op.name())]
    Busy {
        /// The token.
        token: String,
        /// What was asked.
        op: Op,
        /// How many wait.
        waiting: usize,
    },
    /// A ceremony or an epoch change is under way in another thread.
    #[error("another change to the keys of token {token:?} is under way; try again when it has ended")]
    ChangeUnderWay {
        /// The token.
        token: String,
    },
    /// The module refuses.
    #[error("token {token:?} refuses {what}: {why}")]
    Refused {
        /// The token.
        token: String,
        /// What was asked.
        what: &'static str,
        /// The module's error.
        why: String,
    },
    /// The module answers nonsense.
    #[error("token {token:?} gave a wrong answer to {what}: {why}; the module is not fit for use")]
    BadAnswer {
        /// The token.
        token: String,
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A thread can't be started.
    #[error("no thread for token {token:?}: {why}; raise the limit on processes or lower `pool`")]
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
    /// How this counts in the metrics.
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
