//! Errors of the store.

use std::path::{Path, PathBuf};

use bkv_hsm::TokenError;

/// Errors of the store. Each text says what failed and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The folder can't be made.
    #[error("store folder {}: {source}", path.display())]
    Folder {
        /// Path of the folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: ArcIo,
    },
    /// Another process has the store open.
    #[error("{} is open in another process: stop that process, or give this vault its own `data`", path.display())]
    InUse {
        /// Path of the store.
        path: PathBuf,
    },
    /// Another version of the program wrote the store.
    #[error("the store has format {found}, and this program knows format {known}: {}. Nothing was changed", remedy(*found, *known))]
    Format {
        /// The store's format.
        found: u32,
        /// The format that this program reads and writes.
        known: u32,
    },
    /// redb's error.
    #[error("store: {0}")]
    Database(String),
    /// The disk is full or refuses to write.
    #[error("store: can't write ({0}): free some space. Everything that was acknowledged is on the disk")]
    Write(String),
    /// A row does not decrypt at its place: it is damaged, or was moved from another place.
    #[error(
        "store: the row at {0} does not decrypt: it is damaged, or comes from another place, shard or vault"
    )]
    Sealed(String),
    /// A row decrypts but can't be decoded.
    #[error("store: the row at {0} can't be decoded: {1}")]
    Malformed(String, String),
    /// The state has a version that this program can't apply.
    #[error("{0}. Nothing was changed")]
    Version(String),
    /// The token returned no data key.
    #[error("store: no data key: {0}")]
    Key(#[from] TokenError),
    /// A row names a boot that the store does not know.
    #[error("store: a row was sealed at boot {0}, which this store does not know")]
    UnknownBoot(u32),
    /// The token returned a data key of another length.
    #[error("store: the data key does not have 32 bytes")]
    KeyLength,
    /// The writer thread has ended.
    #[error("store: closed")]
    Closed,
}

fn remedy(found: u32, known: u32) -> &'static str {
    if found > known {
        "run the version that wrote it, or a newer one"
    } else {
        "this version can't read it, so start the vault on an empty volume and with a new token"
    }
}

/// A shared `io::Error`, so that all jobs of one failed commit get it.
#[derive(Debug, Clone)]
pub struct ArcIo(std::sync::Arc<std::io::Error>);

impl std::fmt::Display for ArcIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ArcIo {}

impl From<std::io::Error> for ArcIo {
    fn from(e: std::io::Error) -> Self {
        Self(std::sync::Arc::new(e))
    }
}

impl StoreError {
    pub(super) fn open(path: &Path, e: redb::DatabaseError) -> Self {
        match e {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::InUse { path: path.to_owned() },
            e => Self::Database(format!("{}: {e}", path.display())),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(e: $error) -> Self { Self::Database(e.to_string()) }
        }
    )*};
}
from_redb!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);
