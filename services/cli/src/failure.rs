//! Maps each error of the SDK and of the stream to its exit code.

use bkv_client::{Error, MemoryError, State, Whose};
use bkv_stream::Error as StreamError;
use thiserror_ext::AsReport as _;

use crate::exit::{Exit, Failure};
use crate::words::time;

/// This device's clock.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The command that follows advice to set a new password on a device that has the key.
pub(crate) const SET_PASSWORD: &str = "On that device `bkv register` sets it.";

/// The command of `bkv` for what the SDK's remedy advises.
const fn next_command(e: &Error) -> Option<&'static str> {
    match e {
        Error::WrongPassword { .. }
        | Error::LastTryOpen { .. }
        | Error::LastTryOtherPassword
        | Error::Unfinished { .. } => Some(SET_PASSWORD),
        Error::Destroyed | Error::Locked => Some("On that device `bkv register` does it."),
        Error::Deleted | Error::NoKey => Some("`bkv register` makes one."),
        Error::KeyExists => {
            Some("`bkv recover` gets it back. `bkv register` on the device that has it sets a new password.")
        }
        Error::NotOwner => Some("`bkv recover` gets the registered key."),
        Error::RegionsDisagree(_) => Some("`bkv status` shows the state."),
        Error::TokenKey(_) => Some("`bkv token-key` shows the thumbprint."),
        _ => None,
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let exit = match e.cause() {
            Error::WrongPassword { .. } => Exit::WrongPassword,
            Error::Destroyed | Error::Deleted => Exit::Gone,
            Error::Locked => Exit::Locked,
            Error::NoKey => Exit::NoKey,
            Error::LastTryDeclined | Error::TooManyWriters { .. } => Exit::Usage,
            Error::Wait { .. } | Error::Superseded | Error::VTooSoon { .. } => Exit::Wait,
            Error::LastTryOpen { .. } | Error::LastTryOtherPassword => Exit::LastTry,
            Error::VaultUnreachable(_) | Error::RegionsDisagree(_) | Error::ChatdUnreachable(_) => {
                Exit::Unavailable
            }
            Error::TokenRefused(_) | Error::TokenKey(_) | Error::TokenExpired => Exit::TokenRefused,
            Error::FleetNotTrusted(_) => Exit::FleetNotTrusted,
            Error::RegionAnsweredWrongly(_) => Exit::RegionWrong,
            Error::ClockWrong { .. } => Exit::ClockWrong,
            Error::PasswordRefused(_) => Exit::PasswordRefused,
            Error::NotOwner => Exit::WrongKey,
            Error::OlderBackup | Error::OtherLedger { .. } => Exit::Damaged,
            Error::Memory(MemoryError::Io { .. }) => Exit::CantCreate,
            Error::Memory(MemoryError::Broken { .. }) => Exit::Config,
            Error::KeyExists => Exit::KeyExists,
            Error::Unfinished { .. } | Error::Refused { .. } | Error::Local(_) => Exit::Unexpected,
        };
        let command = next_command(&e).map(|command| format!(" {command}")).unwrap_or_default();
        let mut failure = Self::new(exit, e.to_string()).remedy(format!("{}{command}", e.remedy()));
        if let Error::Unfinished { counted, .. } = &e {
            failure = failure.detail("try_counted", counted.word());
        }
        match e.cause() {
            Error::WrongPassword { tries_left, next_allowed } => {
                let next = next_allowed.filter(|t| t.0 > now_ms());
                if let Some(next) = next {
                    failure.message = format!("{}; the next may begin at {}", failure.message, time(next.0));
                }
                failure.detail("tries_left", *tries_left).detail("next_allowed_ms", next.map(|t| t.0))
            }
            Error::Wait { until } => {
                failure.message = format!("no attempt is allowed before {}", time(until.0));
                failure.detail("until_ms", until.0)
            }
            Error::LastTryOpen { until } => {
                let end = time(until.0);
                failure.message =
                    format!("the last try is open on another device until {end}; then the key is destroyed");
                failure.detail("until_ms", until.0)
            }
            Error::VTooSoon { until } => failure.detail("until_ms", until.0),
            Error::OlderBackup => failure.detail("older", true),
            Error::Destroyed => failure.detail("state", State::Destroyed.name()),
            Error::Deleted => failure.detail("state", State::Deleted.name()),
            Error::LastTryDeclined => failure
                .detail("tries_left", 1)
                .detail("declined", true)
                .remedy("Add --yes to use the last try. If the password is wrong, the key is destroyed."),
            Error::TokenExpired => failure.detail("by", "chatd"),
            Error::TokenRefused(whose) => {
                failure.detail("by", if *whose == Whose::Chatd { "chatd" } else { "vault" })
            }
            Error::RegionAnsweredWrongly(w) => failure.detail("region", w.region.clone()),
            _ => failure,
        }
    }
}

impl From<StreamError> for Failure {
    fn from(e: StreamError) -> Self {
        use StreamError as S;
        let (exit, remedy) = match &e {
            S::WrongKey => (
                Exit::WrongKey,
                "This key does not open this backup: is it the right account, or is a digit wrong?",
            ),
            S::Corrupt { .. }
            | S::Truncated
            | S::NotABackup
            | S::UnknownVersion { .. }
            | S::BadHeader { .. } => (
                Exit::Damaged,
                "The file is damaged or not whole. Fetch it again, or restore an older backup; nothing was written.",
            ),
            S::ForeignStream { .. } => {
                (Exit::Damaged, "The file belongs to another account or backup; nothing was written.")
            }
            S::Rollback { .. } => (
                Exit::Damaged,
                "A newer backup is known: whoever keeps your backups may be hiding it. --allow-older restores this one all the same.",
            ),
            S::Unreadable { .. } => (
                Exit::NoInput,
                "Make it readable, or add --skip-unreadable to leave it out and have it listed.",
            ),
            S::Changed { .. } => (Exit::NoInput, "Close what is writing to it and try again."),
            S::NotAFolder { .. } => (Exit::NoInput, "Give the folder that is to be backed up."),
            S::DestinationExists { .. } => (
                Exit::CantCreate,
                "Choose a path that does not exist yet, or move that one away; nothing was touched.",
            ),
            S::DiskFull { .. } => {
                (Exit::CantCreate, "Make room, then try again; what was there before is untouched.")
            }
            S::UnsafeEntry { .. } => (
                Exit::Damaged,
                "Whoever made this archive had the key and meant harm, or its program is broken.",
            ),
            S::InTheWay { .. } => {
                (Exit::CantCreate, "A backup uses that name until it is whole; nothing was touched.")
            }
            S::Busy { .. } => (Exit::CantCreate, "Wait for the other backup to end."),
            S::BadOption(_) | S::TooLong => (Exit::NoInput, "Nothing was left behind."),
            S::File { doing: "open" | "read", .. } => {
                (Exit::NoInput, "Check the path and that you may read it; nothing was written.")
            }
            S::File { .. } => {
                (Exit::CantCreate, "Check the path and that you may write there; nothing was left behind.")
            }
            S::Cancelled => (Exit::Interrupted, "Nothing was left behind."),
            _ => (Exit::Unexpected, "Nothing was left behind."),
        };
        Self::new(exit, e.to_report_string()).remedy(remedy)
    }
}
