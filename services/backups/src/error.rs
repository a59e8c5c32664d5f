//! All errors of this crate. Each names the object or file and ends with the remedy, if there is one.
//! No text contains key material or content of files.

use std::io;
use std::path::PathBuf;

use crate::destination::Fault;

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a destination's backups failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key check of a ledger, or the commitment of a single file, belongs to another key.
    #[error(
        "{object} was written under another key; check the 64 digits, or take the key of the right account"
    )]
    WrongKey {
        /// Object whose check failed.
        object: String,
    },
    /// The key is right, and V is not: the object belongs to another state of the vault.
    #[error(
        "{object} does not open with what the vault gave (V): the destination shows a ledger of another time; \
         look for the newer ledger, or whether this is an old copy of the destination"
    )]
    WrongV {
        /// Name of the ledger.
        object: String,
    },
    /// An authentication tag or a hash did not match.
    #[error(
        "{object} is damaged ({what}); fetch it again from another copy, or restore an earlier generation"
    )]
    Damaged {
        /// Name of the object.
        object: String,
        /// What did not match.
        what: &'static str,
    },
    /// The object ends before its end mark.
    #[error("{object} is cut short; fetch the whole object again")]
    Cut {
        /// Name of the object.
        object: String,
    },
    /// Objects that must exist are missing or short. A sync client may still be copying them.
    #[error(
        "not all of this backup is here: {missing} of {needed} objects are missing or short, first {first}; \
         if the folder is still being synchronised, wait until it has finished"
    )]
    NotAllHere {
        /// Missing or short objects.
        missing: u64,
        /// Objects needed.
        needed: u64,
        /// Name of the first missing one.
        first: String,
    },
    /// A newer program wrote the object.
    #[error("{object} has format version {version}, which this program does not know; update the program")]
    NewerFormat {
        /// Name of the object.
        object: String,
        /// Its version.
        version: u8,
    },
    /// The object is no object of this kind.
    #[error(
        "{object} is not what its place says ({what}); look whether another program writes into this folder"
    )]
    Foreign {
        /// Name of the object.
        object: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The ledger that the vault names, or a newer one of the same writer, is not at the destination.
    #[error(
        "the newest ledger of this device's backups (number {counter}) is not at the destination: an older copy of the destination may be shown, \
         or it is not synchronised yet; look for {object}"
    )]
    RolledBack {
        /// Number of the missing ledger.
        counter: u64,
        /// Name of its first copy.
        object: String,
    },
    /// Another device writes as this writer: its state was copied.
    #[error(
        "another device continues the history of this one (its state folder was copied); back up as a new writer, which makes a full backup"
    )]
    Twin,
    /// The destination reported a write and does not have the object.
    #[error(
        "the destination reported that it wrote {object}, and does not have it; check the destination's space and health, then run the backup again"
    )]
    NotKept {
        /// Name of the object.
        object: String,
    },
    /// A copy found another object under a name at the second destination.
    #[error(
        "{object} is another object at the second destination, short or not written by a copy; delete it there, then copy again"
    )]
    Occupied {
        /// Name of the object.
        object: String,
    },
    /// An operation of the destination failed.
    #[error("the destination can't {doing} {object}: {fault}")]
    Destination {
        /// The operation.
        doing: &'static str,
        /// Name of the object.
        object: String,
        /// The cause, with its remedy.
        fault: Fault,
    },
    /// The vault refused or did not answer.
    #[error("the vault did not take the name of the newest ledger: {0}")]
    Vault(String),
    /// The vault, which has V, was not asked or did not answer.
    #[error(
        "V, without which these backups do not open, was not to be had from the vault ({0}); repeat the command with --fleet and --token while it can be reached"
    )]
    NoV(String),
    /// The source has nothing in it, and the generation before had something.
    #[error("{path} is empty, and the last backup of it was not; check that it is mounted, or allow an empty source", path = path.display())]
    EmptySource {
        /// The source.
        path: PathBuf,
    },
    /// The sources differ from those of the series.
    #[error("the series '{label}' has other sources ({before}); choose another name for this set of sources")]
    OtherSources {
        /// Label of the series.
        label: String,
        /// Its sources.
        before: String,
    },
    /// A source can't be read at all.
    #[error("cannot read {path}; check the path and its permissions", path = path.display())]
    Unreadable {
        /// The source.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses this writer's state.
    #[error("another backup or prune of this device is running (it locks {path}); wait for it to end", path = path.display())]
    Busy {
        /// The locked file.
        path: PathBuf,
    },
    /// The destination of a restore is in use.
    #[error("{path} exists already and is not an empty folder; choose another place", path = path.display())]
    DestinationExists {
        /// The path.
        path: PathBuf,
    },
    /// A restore does not fit.
    #[error("{bytes} bytes are to be restored, and {path} has {free} left; free some space, or restore to another disk", path = path.display())]
    NoRoom {
        /// Where it was to go.
        path: PathBuf,
        /// What is needed.
        bytes: u64,
        /// What is there.
        free: u64,
    },
    /// No generation fits the request.
    #[error("{0}")]
    NoSuchGeneration(String),
    /// A request that can't be carried out as it is.
    #[error("{0}")]
    Refused(String),
    /// A file operation on this device failed.
    #[error("cannot {doing} {path}", path = path.display())]
    File {
        /// The operation.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A bound of the format would be exceeded.
    #[error("{0} is more than this format can hold; split the backup into several series")]
    TooMuch(&'static str),
    /// The caller cancelled.
    #[error("cancelled; the last complete backup is unchanged")]
    Cancelled,
    /// Randomness or cipher failed.
    #[error("the cryptographic library failed; begin again")]
    Crypto,
    /// Another error of the stream.
    #[error("the stream could not be processed")]
    Stream(#[source] bkv_stream::Error),
    /// The caller's reader or writer failed.
    #[error("the content could not be read or written")]
    Io(#[source] io::Error),
}

impl Error {
    /// True if an object itself is damaged, cut, missing or another's. A destination that does not answer proves nothing.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Cut { .. } | Self::NotAllHere { .. } | Self::Foreign { .. }
        )
    }

    /// True if the destination answered that it can't read an object, as a disk does with a bad sector.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Destination { doing: "read", fault: Fault::Other(_), .. })
    }

    /// Adds the object and the operation to a destination's fault.
    pub(crate) fn at(doing: &'static str, object: &str, fault: Fault) -> Self {
        Self::Destination { doing, object: object.to_owned(), fault }
    }

    pub(crate) fn file(doing: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        match Self::from_io(source) {
            Self::Io(source) => Self::File { doing, path: path.to_owned(), source },
            ours => ours,
        }
    }

    pub(crate) fn damaged(object: &str, what: &'static str) -> Self {
        Self::Damaged { object: object.to_owned(), what }
    }

    /// Unwraps an error of this crate, or of the stream, that passed through `Read` or `Write`.
    pub(crate) fn from_io(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(other) => match bkv_stream::Error::from_io(other) {
                bkv_stream::Error::Io(source) => Self::Io(source),
                other => other.into(),
            },
        }
    }
}

impl From<bkv_stream::Error> for Error {
    fn from(error: bkv_stream::Error) -> Self {
        match error {
            bkv_stream::Error::Cancelled => Self::Cancelled,
            bkv_stream::Error::Crypto => Self::Crypto,
            bkv_stream::Error::Io(source) => Self::from_io(source),
            other => Self::Stream(other),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(inner) => inner,
            other => Self::other(other),
        }
    }
}
