//! All errors of a backup or a restore, with what the user can do about them.
//! No variant contains key material or file content. The paths are those that the user gave.

use std::{io, path::PathBuf};

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a backup or restore. If there is a remedy, the text ends with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key-check value in the header belongs to another key (S30).
    #[error("this is not the key of this backup; check the 64 digits, or take the key of the right account")]
    WrongKey,
    /// An authentication tag did not match, so the bytes were changed (S28).
    #[error("the backup is damaged in segment {segment}; fetch the file again or restore an earlier backup")]
    Corrupt {
        /// Segment number, from 0.
        segment: u32,
    },
    /// The file does not end where its writer ended it: bytes at the end are missing or were added.
    #[error("the backup is cut short or does not end where it was ended; fetch the whole file again")]
    Truncated,
    /// The header names another account, backup, sequence or file than the one asked for (S29).
    #[error("this is another backup: its {field} is {found}, expected {expected}; choose the right file")]
    ForeignStream {
        /// Which field of the manifest differs.
        field: &'static str,
        /// The value in the header.
        found: String,
        /// The value that the caller expects.
        expected: String,
    },
    /// The stream is older than the newest one known (S29).
    #[error(
        "this backup (sequence {found}) is not the newest known one (sequence {known}): the storage may have been \
         rolled back; look for the newer file, or accept the older one explicitly"
    )]
    Rollback {
        /// Sequence in the header.
        found: u64,
        /// Newest sequence known to the record or the device.
        known: u64,
    },
    /// The file does not begin with the magic of a backup file.
    #[error("this is not a backup file; choose a file that `bkv backup` wrote")]
    NotABackup,
    /// A newer program wrote the file.
    #[error("the backup has format version {0}, which this program does not know; update the program")]
    UnknownVersion(u8),
    /// The header's manifest is malformed or out of bounds.
    #[error("the header of the backup is malformed ({0}); fetch the file again")]
    BadHeader(&'static str),
    /// The caller set an option that the format does not allow.
    #[error("{0}")]
    BadOption(&'static str),
    /// The stream would have more than 2³² segments.
    #[error("the backup is too long for one file (2^32 segments); split it")]
    TooLong,
    /// The caller cancelled the operation.
    #[error("cancelled; nothing was changed")]
    Cancelled,
    /// This reader or writer failed before and can't be used again.
    #[error("this stream failed before; begin again")]
    FailedBefore,
    /// The operating system returned no randomness, or the cipher failed.
    #[error("the cryptographic library failed; begin again")]
    Crypto,
    /// A source file or folder could not be read.
    #[error("cannot read {path}; give access to it, or back up without it (skip unreadable files)", path = path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process changed a source file while the backup read it.
    #[error("{path} changed while it was read; begin again when it is quiet", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The source of the backup is not a folder.
    #[error("{path} is not a folder; name the folder to back up", path = path.display())]
    NotAFolder {
        /// The path given.
        path: PathBuf,
    },
    /// The destination exists already.
    #[error("{path} exists already; choose another place (nothing was changed)", path = path.display())]
    DestinationExists {
        /// The destination.
        path: PathBuf,
    },
    /// A file that no backup wrote has the name of the partial file.
    #[error("{path} is in the way and was not written by a backup; move it away", path = path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// Another backup is writing the same file.
    #[error("another backup is writing {path}; wait for it to end", path = path.display())]
    Busy {
        /// The partial file that is locked.
        path: PathBuf,
    },
    /// An archive entry would be written outside its folder, or has a kind that is never restored.
    #[error("the archive entry '{path}' is refused: {why}; nothing was restored", path = path.display())]
    UnsafeEntry {
        /// The name in the archive.
        path: PathBuf,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The disk is full, or a quota or file-size limit is reached.
    #[error("no room left while writing {path}; free some space or choose another disk (nothing was changed)", path = path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another failed file operation.
    #[error("cannot {doing} {path}", path = path.display())]
    File {
        /// The operation.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The caller's reader or writer failed.
    #[error("the stream could not be read or written")]
    Io(#[source] io::Error),
}

impl Error {
    /// Unwraps an error of this crate that was inside an `io::Error` because it passed through `Read` or `Write`.
    pub fn from_io(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(other) => Self::Io(other),
        }
    }

    /// As [`Error::from_io`]. An error of the system gets the path and the operation.
    pub(crate) fn at(doing: &'static str, path: &std::path::Path, error: io::Error) -> Self {
        match Self::from_io(error) {
            Self::Io(source) if is_full(&source) => Self::DiskFull { path: path.to_owned(), source },
            Self::Io(source) => Self::File { doing, path: path.to_owned(), source },
            ours => ours,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(inner) => inner,
            other => Self::other(other),
        }
    }
}
