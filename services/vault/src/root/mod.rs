//! The pinned root and, in some fleets, its private half. An in-fleet root is made in a vault and sealed in its store. The vault hands it to the
//! other admitted vaults, sealed to their delivery keys. This module never logs, shows or returns the private half in the clear.
//!
//! Limit of an in-fleet root: anybody with the role `admin` can have documents signed. An attacker with this role can admit a vault of their own,
//! which then receives the root like every other vault. An in-fleet root keeps the key out of the operator's disk, memory and logs. It does not
//! protect against a malicious operator.

mod establish;
mod file;

pub(crate) use establish::{FirstStart, establish};
pub(crate) use file::RootFile;

use std::path::PathBuf;
use std::sync::Arc;

use bkv_core::id::FleetId;
use bkv_wire::documents::{DocumentError, Root, RootKey};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::store::{Store, StoreError};

/// The store's row with the private half.
const ROW: &str = "root-key";

/// The root can't be used or made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file can't be read or written.
    #[error("root {}: {source}", path.display())]
    File {
        /// Path of the root file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not a valid root.
    #[error("root {}: {source}", path.display())]
    Malformed {
        /// Path of the root file.
        path: PathBuf,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root was made once, and its private half is gone.
    #[error(
        "root {}: this vault has made its fleet's root before ({sign}), and its store does not hold the private half: the store was lost or replaced. Give the vault its old volume back. The vault makes no second root, because clients and vaults that pinned the first would refuse it. If another vault holds the root (`root_held` in its status), remove [make_root] here, pin the root file, and hand the root over again", path.display()
    )]
    Lost {
        /// Path of the public half.
        path: PathBuf,
        /// The evidence that a root existed.
        sign: &'static str,
    },
    /// The file and the store hold different roots.
    #[error(
        "root {}: it is not the root whose private half is in this vault's store; put the right file, or the right volume, there", .0.display()
    )]
    Other(PathBuf),
    /// `[make_root]` names another fleet than the existing root.
    #[error(
        "make_root.fleet: {want}, but the root that was made here is of fleet {found}: a vault makes one root in its life"
    )]
    OtherFleet {
        /// The configured fleet.
        want: FleetId,
        /// The fleet of the existing root.
        found: FleetId,
    },
    /// The stored private half can't be decoded.
    #[error("the root's private half in the store can't be decoded")]
    Kept,
}

/// The store's row of a root: seed ‖ root file, so that a lost file is written again byte for byte.
pub(crate) struct Kept {
    pub(crate) key: RootKey,
    pub(crate) file: Vec<u8>,
}

impl Kept {
    /// Reads the row from the store and wipes the row's buffer.
    pub(crate) fn read(store: &Store) -> Result<Option<Self>, RootError> {
        let Some(row) = store.secret(ROW)? else { return Ok(None) };
        let (seed, file) = row.split_first_chunk::<32>().ok_or(RootError::Kept)?;
        let kept = Self { key: RootKey::from_seed(&Zeroizing::new(*seed)), file: file.to_vec() };
        let root = Root::decode(&kept.file).map_err(|_| RootError::Kept)?;
        if root.keys.contains(&kept.key.public()) { Ok(Some(kept)) } else { Err(RootError::Kept) }
    }

    /// Encodes the row. The store wipes it after writing.
    fn row(key: &RootKey, file: &[u8]) -> Vec<u8> {
        // Allocate the full length at once: a vector that grows leaves copies of the seed in freed memory.
        let mut row = Vec::with_capacity(32 + file.len());
        row.extend_from_slice(key.seed().as_slice());
        row.extend_from_slice(file);
        row
    }
}

/// The root as this vault holds it.
pub struct Custody {
    root: Root,
    /// The root file, byte for byte the same in every vault.
    file: Vec<u8>,
    key: RwLock<Option<Arc<RootKey>>>,
}

impl std::fmt::Debug for Custody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Custody(held: {})", self.key().is_some())
    }
}

impl Custody {
    /// A root of which this vault has only the public half.
    pub fn pinned(root: Root) -> Self {
        Self { file: root.encode(), root, key: RwLock::new(None) }
    }

    pub(crate) fn new(root: Root, file: Vec<u8>, key: Option<RootKey>) -> Self {
        Self { root, file, key: RwLock::new(key.map(Arc::new)) }
    }

    /// The public half.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// The root file.
    pub(crate) fn file(&self) -> &[u8] {
        &self.file
    }

    /// The private half, if this vault holds it.
    pub(crate) fn key(&self) -> Option<Arc<RootKey>> {
        self.key.read().clone()
    }

    /// The row to store before [`Self::hold`]. It must be on disk first, or a crash could leave a vault that reported `held` without the key.
    pub(crate) fn row(&self, key: &RootKey) -> (&'static str, Vec<u8>) {
        (ROW, Kept::row(key, &self.file))
    }

    /// Holds the private half from now on.
    pub(crate) fn hold(&self, key: RootKey) {
        *self.key.write() = Some(Arc::new(key));
    }
}
