//! The errors of the SDK, each with a remedy for the user or for the fleet's operator.

use std::borrow::Cow;

use bkv_core::id::{Slot, Time};
use bkv_core::writers::{AttestedWriter, LedgerName};
use bkv_crypto::password::{PasswordError, Weak};
use bkv_wire::documents::DocumentError;

use crate::memory::MemoryError;

/// Which token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The token that ChatD sees.
    Chatd,
    /// The token that only vaults see.
    Vault,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chatd => "ChatD",
            Self::Vault => "the vault",
        })
    }
}

/// Why the fleet is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// A document is unsigned, expired, of another fleet, older than one seen, or broken.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The bundle does not decode.
    #[error("the fleet's documents that ChatD sent do not decode")]
    Bundle,
    /// The documents of a region do not hold, and no other region gave better ones. ChatD names the region.
    #[error("region {region}: {why}")]
    Region {
        /// The region.
        region: String,
        /// What is wrong with them.
        why: Box<Self>,
    },
    /// The vault's key is not on the admission list that the root signed.
    #[error("the vault's key is not on the admission list that the root signed")]
    NotAdmitted,
    /// The stretching that the record asks for is outside the signed policy.
    #[error("the stretching that was asked for is outside the signed policy: {0}")]
    Stretching(String),
}

/// A wrong answer, and the region that gave it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("region {region} (slot {slot}): {what}")]
pub struct WrongAnswer {
    /// Its place on the admission list, 0 if it has none.
    pub slot: Slot,
    /// Its name on the admission list.
    pub region: String,
    /// What was wrong.
    pub what: String,
}

/// Whether an attempt without an outcome is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The client had sent `Begin` and got no answer. The vault may have written it to its log, and may commit it later.
    Perhaps,
    /// The vault answered `Begin`, and a later answer did not arrive.
    Yes,
}

impl Counted {
    /// Its name in JSON output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Perhaps => "perhaps",
            Self::Yes => "yes",
        }
    }

    /// What an attempt that ended so may have cost, and what to do if it was the last one.
    pub fn advice(self) -> String {
        let tried = match self {
            Self::Perhaps => "A try may have been spent by that: the message that begins one had left.",
            Self::Yes => "A try was spent by that.",
        };
        format!(
            "{tried} A right password gives all tries back; if it was the last one, set a new password on a device that still has the key."
        )
    }
}

/// Why the token does not fit the key of this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// The token names a key, and the client has none.
    #[error("the token is bound to a key (cnf.jkt), and this device has no key for it")]
    Missing,
    /// The token names another key.
    #[error("the token is bound to another key (cnf.jkt) than this device's")]
    Other,
    /// `cnf` has no `jkt`.
    #[error(
        "the token's cnf has no jkt, the thumbprint of this device's key, and vaults refuse such a token"
    )]
    Confirmation,
    /// The policy takes only tokens that name a key.
    #[error("the fleet takes only tokens that are bound to a key, and this one has no cnf.jkt")]
    Unbound,
}

/// Why an operation ended without success. Only [`Error::WrongPassword`] and [`Error::Unfinished`] can have cost a try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The password is wrong.
    #[error("wrong password; {} left", tries(*tries_left))]
    WrongPassword {
        /// Tries left, as t regions signed it.
        tries_left: u32,
        /// No attempt before this, by the vault's clock. None if the vault did not answer.
        next_allowed: Option<Time>,
    },
    /// Too many wrong attempts. The key is destroyed for ever.
    #[error("the key was destroyed after too many wrong attempts")]
    Destroyed,
    /// The owner deleted it.
    #[error("the key was deleted by its owner")]
    Deleted,
    /// Too many failures since the key was registered. Nothing is destroyed, and the owner's next registration unlocks it.
    #[error("the account is locked: too many failed attempts since the key was registered")]
    Locked,
    /// Never registered.
    #[error("there is no key for this account")]
    NoKey,
    /// A key is registered already, and the caller gave no key that may overwrite it.
    #[error("there is a key for this account already")]
    KeyExists,
    /// The wait before the next attempt is not over.
    #[error("no attempt is allowed before {} (ms since 1970)", until.0)]
    Wait {
        /// By the vault's clock.
        until: Time,
    },
    /// The last try is open on another device.
    #[error("the last try is open on another device until {} (ms since 1970)", until.0)]
    LastTryOpen {
        /// By the vault's clock.
        until: Time,
    },
    /// This device goes on with the last try that it began, and the password is another than then.
    #[error("the last try was begun on this device with another password")]
    LastTryOtherPassword,
    /// Only one try is left, and the user did not agree to use it.
    #[error("only one try is left, and it was not used")]
    LastTryDeclined,
    /// A later attempt superseded this one.
    #[error("another attempt for this account took this one's place")]
    Superseded,
    /// The key that was given does not own the registered record.
    #[error("the key that was given is not the one that is registered")]
    NotOwner,
    /// A newer backup was named already.
    #[error("a newer backup than this one is named already")]
    OlderBackup,
    /// Another ledger of the writer is named than the caller expects, as t regions sign. Two devices use one writer's state, or an earlier answer was lost.
    #[error("the vault names another ledger of this writer than the one that was expected")]
    OtherLedger {
        /// The one that is named.
        named: Option<LedgerName>,
    },
    /// The account has as many writers as it can have.
    #[error("the vault knows {} other writers of this account already", writers.len())]
    TooManyWriters {
        /// Those that it knows.
        writers: Vec<AttestedWriter>,
    },
    /// V was changed lately. Until then it can only be taken back.
    #[error("V can't be changed again before {} (ms since 1970)", until.0)]
    VTooSoon {
        /// By the vault's clock.
        until: Time,
    },
    /// No answer from a majority of the vaults in time.
    #[error("the vault can't be reached: {0}")]
    VaultUnreachable(String),
    /// Enough regions answered, and too few of them sign what is asked for. The text has each region's answer.
    #[error("{0}")]
    RegionsDisagree(String),
    /// No answer from ChatD in time.
    #[error("ChatD can't be reached: {0}")]
    ChatdUnreachable(String),
    /// A token was refused.
    #[error("{0} refused the token")]
    TokenRefused(Whose),
    /// The token does not fit the key of this device.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// ChatD's token has expired. (The vault answers every fault of its own token with the same refusal.)
    #[error("the token for ChatD has expired")]
    TokenExpired,
    /// The fleet is not the pinned one, or serves old or unsigned documents.
    #[error("the fleet is not trusted: its servers could not prove that they belong to it ({0})")]
    FleetNotTrusted(Distrust),
    /// Regions answered wrongly, and too few others were left.
    #[error("answered wrongly: {0}")]
    RegionAnsweredWrongly(WrongAnswer),
    /// Certificates seem outside their dates because this clock is wrong.
    #[error("this device's clock is wrong by {} s against the vault's", by_ms / 1000)]
    ClockWrong {
        /// Vault minus device, milliseconds.
        by_ms: i64,
    },
    /// The password can't be used, or is too easy to guess. Holds advice, never the password.
    #[error("the password was refused: {0}")]
    PasswordRefused(String),
    /// The vault refused a message as malformed: the versions do not match, or this program has a fault.
    #[error("the vault refused the request ({code}): {detail}")]
    Refused {
        /// The name of the refusal.
        code: &'static str,
        /// For a log.
        detail: String,
    },
    /// A recovery ended without an outcome after its attempt had begun, or may have.
    #[error("{cause}")]
    Unfinished {
        /// Whether the try is counted.
        counted: Counted,
        /// What ended it.
        cause: Box<Error>,
    },
    /// This device's memory can't be read or written.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A computation failed on this machine (no memory for the stretching, say).
    #[error("failed on this machine: {0}")]
    Local(String),
}

/// "1 try", "2 tries".
fn tries(n: u32) -> String {
    if n == 1 { "1 try".into() } else { format!("{n} tries") }
}

impl Error {
    /// The cause, whether or not an attempt was in progress.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Unfinished { cause, .. } => cause,
            other => other,
        }
    }

    /// Wraps an error that ended an attempt in [`Error::Unfinished`], unless the error already says whether a try was used.
    pub(crate) fn of_attempt(self, counted: Option<Counted>) -> Self {
        let unsaid = matches!(
            self,
            Self::VaultUnreachable(_)
                | Self::RegionsDisagree(_)
                | Self::ChatdUnreachable(_)
                | Self::RegionAnsweredWrongly(_)
                | Self::FleetNotTrusted(_)
                | Self::TokenRefused(_)
                | Self::TokenKey(_)
                | Self::TokenExpired
                | Self::ClockWrong { .. }
                | Self::LastTryDeclined
                | Self::Superseded
                | Self::Refused { .. }
                | Self::Memory(_)
                | Self::Local(_)
        );
        match counted.filter(|_| unsaid) {
            Some(counted) => Self::Unfinished { counted, cause: Box::new(self) },
            None => self,
        }
    }

    /// What to do now. It names no command or option of a program: the app adds its own.
    pub fn remedy(&self) -> Cow<'static, str> {
        let Self::Unfinished { counted, cause } = self else { return Cow::Borrowed(self.advice()) };
        let first = match &**cause {
            Self::FleetNotTrusted(_) | Self::TokenRefused(_) | Self::TokenKey(_) | Self::TokenExpired => {
                cause.advice()
            }
            Self::RegionAnsweredWrongly(_) => "Tell the fleet's operator which region it was.",
            Self::ClockWrong { .. } => "Set this device's clock.",
            _ => "Try again later.",
        };
        Cow::Owned(format!("{first} {}", counted.advice()))
    }

    const fn advice(&self) -> &'static str {
        match self {
            Self::Unfinished { .. } => "Try again later.",
            Self::WrongPassword { tries_left: 0, .. } => {
                "That was the last try: the key is destroyed when the time of this try is over. Until then a device that still has the key saves it by setting a new password."
            }
            Self::WrongPassword { tries_left: 1, .. } => {
                "One try is left. If it is wrong, the key is destroyed. Set a new password on a device that still has the key instead."
            }
            Self::WrongPassword { .. } => {
                "Try again, or set a new password on a device that still has the key."
            }
            Self::Destroyed => {
                "The vault's key is gone for good. A device that still has the key can register it again, and all its backups stay readable. Without such a device, register a new key and make a new backup of the data."
            }
            Self::Deleted | Self::NoKey => "Register a new key.",
            Self::Locked => {
                "Nothing is destroyed. A device that still has the key unlocks the account by registering it again, under the same or a new password; a change of password can't, since it proves the old one first. Without such a device nobody can unlock it."
            }
            Self::KeyExists => {
                "Get it back with its password, or register on a device that has the key, which sets a new password."
            }
            Self::Wait { .. } => {
                "Wait until then; the waits grow with every wrong password and end with a right one."
            }
            Self::LastTryOpen { .. } => {
                "When its time is over, the key is destroyed. Until then finish on the device that began it, with the same password, or set a new password on a device that still has the key."
            }
            Self::LastTryOtherPassword => {
                "No try was spent. Type the same password as before: after eight other passwords this device can't resume the last try. When its time is over, the key is destroyed. Until then a device that still has the key saves it by setting a new password."
            }
            Self::LastTryDeclined => {
                "No try was spent. Agree to use the last try, or set a new password on a device that still has the key."
            }
            Self::Superseded => "Another device tried at the same time. Try again when it is done.",
            Self::NotOwner => "Use the key of this account, or recover it with its password first.",
            Self::OlderBackup => "Look for the newer backup, or make a new one.",
            Self::OtherLedger { .. } => {
                "A copy of this device's state was used elsewhere. Begin a new writer here, which makes a full backup."
            }
            Self::TooManyWriters { .. } => {
                "Forget a writer that is no longer used. Its place is free 7 days later."
            }
            Self::VTooSoon { .. } => {
                "Prune again after that time. Until then what was to be forgotten stays readable."
            }
            Self::VaultUnreachable(_) => "Try again later. No try was spent.",
            Self::RegionsDisagree(_) => {
                "Look at the state of the key: a change that was sent may still take effect. Then repeat the operation. If a region stays behind, tell the fleet's operator which one."
            }
            Self::ChatdUnreachable(_) => {
                "Check the network and the address in the fleet's profile, then try again. No try was spent."
            }
            Self::TokenExpired => "Sign in again: it gives fresh tokens.",
            Self::TokenKey(_) => {
                "Get a token for this device's key from your identity provider: its cnf.jkt must be the thumbprint of that key."
            }
            Self::TokenRefused(_) => {
                "Sign in again to get a fresh token for this account, and check that it is made for this fleet."
            }
            Self::FleetNotTrusted(_) => {
                "Do not type the password again, and check that the profile is the one that you were given. For the fleet's operator: the words in parentheses say what was wrong; the root file of this profile must be the one that signed the documents in force."
            }
            Self::RegionAnsweredWrongly(_) => {
                "No try was spent. Tell the fleet's operator which region it was; try again later."
            }
            Self::ClockWrong { .. } => "Set this device's clock, then try again. No try was spent.",
            Self::PasswordRefused(_) => "Choose another password.",
            Self::Refused { .. } => "Update this program; if it is up to date, tell the fleet's operator.",
            Self::Memory(MemoryError::Broken { .. }) => {
                "Put the file back from a copy of its folder. Without a copy, use a newer version of this program if one wrote it. Else rename the file and repeat: the device then no longer knows the newest documents and the newest backup that it has seen, and can't notice older ones until it has seen those again."
            }
            Self::Memory(MemoryError::Io { .. }) => {
                "Check the folder of this device's state: it must be writable and hold this program's own files."
            }
            Self::Local(_) => "Close other programs and try again.",
        }
    }
}

impl From<Distrust> for Error {
    fn from(why: Distrust) -> Self {
        Self::FleetNotTrusted(why)
    }
}

impl From<DocumentError> for Error {
    fn from(why: DocumentError) -> Self {
        Self::FleetNotTrusted(Distrust::Document(why))
    }
}

impl From<PasswordError> for Error {
    fn from(why: PasswordError) -> Self {
        Self::PasswordRefused(why.to_string())
    }
}

impl From<Weak> for Error {
    fn from(advice: Weak) -> Self {
        Self::PasswordRefused(advice.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An app that uses the SDK has no command line.
    #[test]
    fn no_error_names_a_command_or_option_of_bkv() {
        let path = || std::path::PathBuf::from("memory.json");
        let document = DocumentError::Signatures { kind: "policy", want: 2, got: 1 };
        let errors = [
            Error::WrongPassword { tries_left: 0, next_allowed: None },
            Error::WrongPassword { tries_left: 1, next_allowed: None },
            Error::WrongPassword { tries_left: 2, next_allowed: None },
            Error::Destroyed,
            Error::Deleted,
            Error::Locked,
            Error::NoKey,
            Error::KeyExists,
            Error::Wait { until: Time(1) },
            Error::LastTryOpen { until: Time(1) },
            Error::LastTryOtherPassword,
            Error::LastTryDeclined,
            Error::Superseded,
            Error::NotOwner,
            Error::OlderBackup,
            Error::OtherLedger { named: None },
            Error::TooManyWriters { writers: Vec::new() },
            Error::VTooSoon { until: Time(1) },
            Error::VaultUnreachable(String::new()),
            Error::RegionsDisagree(String::new()),
            Error::ChatdUnreachable(String::new()),
            Error::TokenRefused(Whose::Vault),
            Error::TokenKey(TokenKeyError::Missing),
            Error::TokenKey(TokenKeyError::Other),
            Error::TokenKey(TokenKeyError::Confirmation),
            Error::TokenKey(TokenKeyError::Unbound),
            Error::TokenExpired,
            Error::FleetNotTrusted(Distrust::Document(document)),
            Error::RegionAnsweredWrongly(WrongAnswer { slot: Slot(1), region: "a".into(), what: "b".into() }),
            Error::ClockWrong { by_ms: 1 },
            Error::PasswordRefused(String::new()),
            Error::Refused { code: "a", detail: String::new() },
            Error::Memory(MemoryError::Io { path: path(), why: String::new() }),
            Error::Memory(MemoryError::Broken { path: path(), why: String::new() }),
            Error::Local(String::new()),
        ];
        let unfinished = [Counted::Perhaps, Counted::Yes].into_iter().flat_map(|counted| {
            errors.iter().map(move |e| Error::Unfinished { counted, cause: Box::new(e.clone()) })
        });
        for e in errors.iter().cloned().chain(unfinished) {
            for text in [e.to_string(), e.remedy().into_owned()] {
                assert!(!["bkv", "`", "--"].iter().any(|word| text.contains(word)), "{text}");
            }
            assert!(!e.remedy().is_empty());
        }
    }
}
