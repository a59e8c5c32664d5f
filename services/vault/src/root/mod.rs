//! The pinned root, and perhaps its private half: an in-fleet root is made in a vault, lies sealed in its store, and goes to the other admitted vaults
//! sealed to their delivery keys. Nothing here logs, shows or returns it in the clear.
//!
//! What an in-fleet root means: whoever has the role `admin` can have documents signed, and so can admit a vault of their own, which is then handed the
//! root like every other. It keeps the operator's disk, memory and logs free of the key; it is no defence against an operator that turned.

mod establish;
mod file;

pub(crate) use establish::{FirstStart, establish};
pub(crate) use file::RootFile;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use bkv_core::id::FleetId;
use bkv_wire::documents::{DocumentError, Root, RootKey};
use zeroize::Zeroizing;

use crate::store::{Store, StoreError};

/// The row with the private half.
const ROW: &str = "root-key";

/// The root can't be used, or not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file can't be read or written.
    #[error("root {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no root.
    #[error("root {}: {source}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was made once, and its private half is gone.
    #[error(
        "root {}: this vault has made its fleet's root before ({sign}), and its store has no private half of it: the store was lost or replaced. Give the vault its old volume back. A second root is never made: nothing that pinned the first would believe it. If another vault holds the root (`root_held` in its status), take [make_root] out here, pin the root file, and hand the root over again", path.display()
    )]
    Lost {
        /// Where the public half is, or should be.
        path: PathBuf,
        /// What shows that there was one.
        sign: &'static str,
    },
    /// The file and the store are of different roots.
    #[error(
        "root {}: it is not the root whose private half is in this vault's store; put the right file, or the right volume, there", .0.display()
    )]
    Other(PathBuf),
    /// `[make_root]` names another fleet than the root that is there.
    #[error(
        "make_root.fleet: {want}, but the root that was made here is of fleet {found}: a vault makes one root in its life"
    )]
    OtherFleet {
        /// As configured.
        want: FleetId,
        /// As made.
        found: FleetId,
    },
    /// The kept private half does not read.
    #[error("the root's private half in the store does not read")]
    Kept,
}

/// What is kept of a root in the store: seed ‖ root file, so that a lost file is written again byte for byte.
pub(crate) struct Kept {
    pub(crate) key: RootKey,
    pub(crate) file: Vec<u8>,
}

impl Kept {
    /// From the store. The row itself is wiped.
    pub(crate) fn read(store: &Store) -> Result<Option<Self>, RootError> {
        let Some(row) = store.secret(ROW)? else { return Ok(None) };
        let (seed, file) = row.split_first_chunk::<32>().ok_or(RootError::Kept)?;
        let kept = Self { key: RootKey::from_seed(&Zeroizing::new(*seed)), file: file.to_vec() };
        let root = Root::decode(&kept.file).map_err(|_| RootError::Kept)?;
        if root.keys.contains(&kept.key.public()) { Ok(Some(kept)) } else { Err(RootError::Kept) }
    }

    /// As a row: the store wipes what it is given.
    fn row(key: &RootKey, file: &[u8]) -> Vec<u8> {
        // All room from the start: a vector that grows leaves the seed behind.
        let mut row = Vec::with_capacity(32 + file.len());
        row.extend_from_slice(key.seed().as_slice());
        row.extend_from_slice(file);
        row
    }
}

/// The root as this vault has it.
pub struct Custody {
    root: Root,
    /// As everybody has it, byte for byte.
    file: Vec<u8>,
    key: RwLock<Option<Arc<RootKey>>>,
}

impl std::fmt::Debug for Custody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Custody(held: {})", self.key().is_some())
    }
}

impl Custody {
    /// Only pinned.
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
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The row to keep before [`Self::hold`]: on disk first, or a crash would leave a vault that said `held` without it.
    pub(crate) fn row(&self, key: &RootKey) -> (&'static str, Vec<u8>) {
        (ROW, Kept::row(key, &self.file))
    }

    /// From now on.
    pub(crate) fn hold(&self, key: RootKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
    }
}
