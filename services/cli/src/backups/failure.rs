//! The exit code of each error of the core. Its texts end with the remedy, after a semicolon.

use bkv_backups::Error;
use bkv_backups::destination::Fault;
use thiserror_ext::AsReport as _;

use crate::exit::{Exit, Failure};

/// True for an operation that reads from the destination.
fn reads(doing: &str) -> bool {
    matches!(doing, "read" | "list" | "look at" | "open")
}

fn of_fault(doing: &str, fault: &Fault) -> Exit {
    match fault {
        Fault::Unavailable(_) => Exit::Unavailable,
        Fault::NotFound => Exit::Damaged,
        Fault::Denied(_) | Fault::Other(_) if reads(doing) => Exit::NoInput,
        Fault::Exists | Fault::Full | Fault::Denied(_) | Fault::Other(_) => Exit::CantCreate,
    }
}

fn exit(error: &Error) -> Exit {
    match error {
        Error::WrongKey { .. } => Exit::WrongKey,
        Error::WrongV { .. }
        | Error::Damaged { .. }
        | Error::Cut { .. }
        | Error::NotAllHere { .. }
        | Error::NewerFormat { .. }
        | Error::Foreign { .. }
        | Error::RolledBack { .. }
        | Error::Twin => Exit::Damaged,
        Error::Destination { doing, fault, .. } => of_fault(doing, fault),
        Error::Vault(_) | Error::NoV(_) => Exit::Unavailable,
        Error::EmptySource { .. }
        | Error::OtherSources { .. }
        | Error::Unreadable { .. }
        | Error::NoSuchGeneration(_)
        | Error::TooMuch(_) => Exit::NoInput,
        Error::Busy { .. } => Exit::Wait,
        Error::Refused(_) => Exit::Usage,
        Error::File { doing, .. } if reads(doing) => Exit::NoInput,
        Error::Cancelled => Exit::Interrupted,
        Error::NotKept { .. }
        | Error::NoRoom { .. }
        | Error::Occupied { .. }
        | Error::DestinationExists { .. }
        | Error::File { .. }
        | Error::Io(_) => Exit::CantCreate,
        _ => Exit::Unexpected,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let error = match error {
            // A signal has ended a call that waited for a server.
            Error::Destination { fault: Fault::Unavailable(_), .. } if crate::signals::is_interrupted() => {
                Error::Cancelled
            }
            other => other,
        };
        let exit = exit(&error);
        let text = error.to_report_string();
        let failure = match text.split_once("; ") {
            Some((message, remedy)) => Self::new(exit, message).remedy(sentence(remedy)),
            None => Self::new(exit, text),
        };
        match &error {
            Error::EmptySource { .. } => {
                failure.remedy("Check that the disk is mounted, or that the program before the pipe did not fail. --allow-empty backs up an empty source.")
            }
            Error::Busy { .. } => failure
                .remedy("Wait for it to end. `bkv backup`, `bkv prune` and `bkv verify --repair` wait themselves with --wait-lock. Nothing was written."),
            Error::Cancelled => Self::new(exit, "interrupted").remedy("The last complete backup is unchanged."),
            Error::File { .. } if failure.remedy.is_none() => {
                failure.remedy("Check the path, its permissions and the room on that disk.")
            }
            Error::Twin => failure.remedy("A backup begins a new writer and is a full one. Make one on this device."),
            Error::RolledBack { .. } => failure.remedy(
                "Wait for a sync to finish, or look for the newest copy of the destination. `bkv restore --allow-older` takes what is here all the same.",
            ),
            Error::DestinationExists { .. } => {
                failure.remedy("Choose a path that does not exist yet, or an empty folder. Nothing was touched.")
            }
            Error::WrongKey { object }
            | Error::WrongV { object }
            | Error::Damaged { object, .. }
            | Error::Cut { object }
            | Error::NewerFormat { object, .. }
            | Error::Foreign { object, .. }
            | Error::NotAllHere { first: object, .. } => failure.detail("object", object.clone()),
            _ => failure,
        }
    }
}

/// A fault of the first call, which has no object. `exit` is the code if the place can't be used.
pub(super) fn at_place(fault: &Fault, exit: Exit) -> Failure {
    let exit = if matches!(fault, Fault::Unavailable(_)) { of_fault("open", fault) } else { exit };
    let text = format!("the destination can't be used: {fault}");
    match text.split_once("; ") {
        Some((message, remedy)) => Failure::new(exit, message).remedy(sentence(remedy)),
        None => Failure::new(exit, text),
    }
}

/// A remedy as a sentence of its own.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let end = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_and_remedy_are_parted_and_the_object_is_named() {
        let failure = Failure::from(Error::Cut { object: "bkv-1/x".into() });
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Damaged, "bkv-1/x is cut short"));
        assert_eq!(failure.remedy.as_deref(), Some("Fetch the whole object again."));
        assert_eq!(failure.details.get("object").and_then(|o| o.as_str()), Some("bkv-1/x"));
        for (error, want) in [
            (Error::WrongKey { object: String::new() }, Exit::WrongKey),
            (Error::Refused("no".into()), Exit::Usage),
            (Error::Cancelled, Exit::Interrupted),
            (Error::Busy { path: "x".into() }, Exit::Wait),
            (Error::Destination { doing: "write", object: "x".into(), fault: Fault::Full }, Exit::CantCreate),
            (
                Error::Destination { doing: "read", object: "x".into(), fault: Fault::Denied("no".into()) },
                Exit::NoInput,
            ),
        ] {
            assert_eq!(Failure::from(error).exit, want);
        }
    }
}
