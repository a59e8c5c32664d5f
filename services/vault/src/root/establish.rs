//! Determines the root at start: reads it, writes its file again, or makes it once in the fleet's life. A pure function decides from what exists.
//! After a crash between two steps the next start finds one of the same cases again.

use std::path::{Path, PathBuf};

use bkv_core::id::{Era, FleetId};
use bkv_wire::documents::{Root, RootKey};
use zeroize::Zeroizing;

use super::file::write_whole;
use super::{Custody, Kept, RootError, RootFile};
use crate::env::Random;
use crate::store::Store;

/// A note in the data folder, written before the token gets keys. Keys without this note and without a root mean that the folder was lost.
pub(crate) struct FirstStart(PathBuf);

impl FirstStart {
    pub(crate) fn of(data: &Path) -> Self {
        Self(data.join("root-wanted"))
    }

    /// Call this while the token has no keys yet.
    pub(crate) fn note(&self) -> Result<(), RootError> {
        write_whole(&self.0, b"").map_err(|source| RootError::File { path: self.0.clone(), source })
    }

    fn is_noted(&self) -> bool {
        self.0.exists()
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What exists at a start.
#[derive(Clone, Copy)]
struct Found<'a> {
    /// The fleet to make a root for, if this vault may.
    make: Option<FleetId>,
    /// The root file.
    file: Option<&'a [u8]>,
    /// The root file as it is kept beside the private half.
    kept: Option<&'a [u8]>,
    /// True if the vault has nothing older than this root.
    first_start: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Use the root file: the store has the same root, or this vault only pins it.
    Use,
    /// The private half is in the store, the file is missing.
    WriteFile,
    /// No root exists or ever existed here.
    Make,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unfit {
    Lost(&'static str),
    Other,
}

fn decide(f: Found<'_>) -> Result<Step, Unfit> {
    match (f.file, f.kept) {
        (Some(file), Some(kept)) if file == kept => Ok(Step::Use),
        (Some(_), Some(_)) => Err(Unfit::Other),
        // The private half is on disk before the file is written, so a crash can't explain a file without it.
        (Some(_), None) if f.make.is_some() => Err(Unfit::Lost("the root file is there")),
        (Some(_), None) => Ok(Step::Use),
        (None, Some(_)) => Ok(Step::WriteFile),
        (None, None) if f.first_start => Ok(Step::Make),
        (None, None) => Err(Unfit::Lost("its token has keys of an earlier life")),
    }
}

/// Returns the root of this vault, and makes it if needed. `make` comes from `[make_root]`.
pub(crate) async fn establish(
    file: RootFile,
    make: Option<FleetId>,
    store: &Store,
    first: &FirstStart,
    random: &dyn Random,
) -> Result<Custody, RootError> {
    let kept = Kept::read(store)?;
    let step = decide(Found {
        make,
        file: file.found.as_ref().map(|(_, bytes)| bytes.as_slice()),
        kept: kept.as_ref().map(|k| k.file.as_slice()),
        first_start: first.is_noted(),
    })
    .map_err(|unfit| match unfit {
        Unfit::Lost(sign) => RootError::Lost { path: file.path.clone(), sign },
        Unfit::Other => RootError::Other(file.path.clone()),
    })?;
    let found = match (&kept, &file.found) {
        (Some(kept), _) => Some(Root::decode(&kept.file).map_err(|_| RootError::Kept)?.fleet),
        (None, found) => found.as_ref().map(|(root, _)| root.fleet),
    };
    if let (Some(want), Some(found)) = (make, found)
        && want != found
    {
        return Err(RootError::OtherFleet { want, found });
    }
    let custody = match (step, kept, &file.found, make) {
        (Step::Make, _, _, Some(fleet)) => make_root(&file, fleet, store, random).await?,
        (Step::WriteFile, Some(kept), ..) => {
            file.write(&kept.file)?;
            tracing::warn!(path = %file.path.display(), "wrote the missing root file again");
            let root = Root::decode(&kept.file).map_err(|_| RootError::Kept)?;
            Custody::new(root, kept.file, Some(kept.key))
        }
        (_, kept, Some((root, bytes)), _) => Custody::new(root.clone(), bytes.clone(), kept.map(|k| k.key)),
        _ => return Err(RootError::Kept),
    };
    first.forget();
    Ok(custody)
}

async fn make_root(
    file: &RootFile,
    fleet: FleetId,
    store: &Store,
    random: &dyn Random,
) -> Result<Custody, RootError> {
    let key = RootKey::from_seed(&Zeroizing::new(random.bytes()));
    // Not `development`: that flag means that the private key is in clear text on a disk, and this one never is.
    let root = Root { keys: vec![key.public()], threshold: 1, fleet, era: Era(1), development: false };
    let bytes = root.encode();
    store.put_secret(super::ROW, Kept::row(&key, &bytes)).await?;
    // Publish the public half last: a root whose private half could still be lost must not be pinned.
    file.write(&bytes)?;
    tracing::info!(fleet = %fleet, "made the fleet's root; its private half is sealed in this vault's store");
    Ok(Custody::new(root, bytes, Some(key)))
}

#[cfg(test)]
#[path = "establish_test.rs"]
mod tests;
