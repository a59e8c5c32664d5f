//! Which root this vault has after its start: read, written again, or made, once in the fleet's life. What to do is decided from what is there; the
//! order of the steps makes every crash between them one of these cases again.

use std::path::{Path, PathBuf};

use bkv_core::id::{Era, FleetId};
use bkv_wire::documents::{Root, RootKey};
use zeroize::Zeroizing;

use super::file::write_whole;
use super::{Custody, Kept, RootError, RootFile};
use crate::env::Random;
use crate::store::Store;

/// A first start is noted in the data folder before the token gets keys. Keys without this note and without a root mean that the folder was lost.
pub(crate) struct FirstStart(PathBuf);

impl FirstStart {
    pub(crate) fn of(data: &Path) -> Self {
        Self(data.join("root-wanted"))
    }

    /// To be called while the token has no keys yet.
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

/// What a start finds.
#[derive(Clone, Copy)]
struct Found<'a> {
    /// The fleet to make a root for, if this vault may.
    make: Option<FleetId>,
    /// The root file.
    file: Option<&'a [u8]>,
    /// The root file as it is kept beside the private half.
    kept: Option<&'a [u8]>,
    /// Nothing of this vault is older than this root.
    first_start: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// File and store are as they should be.
    Use,
    /// The private half is here, the file is not.
    WriteFile,
    /// Neither is, nor ever was.
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
        // The private half is on disk before the file is written, so this is no crash in between.
        (Some(_), None) if f.make.is_some() => Err(Unfit::Lost("the root file is there")),
        (Some(_), None) => Ok(Step::Use),
        (None, Some(_)) => Ok(Step::WriteFile),
        (None, None) if f.first_start => Ok(Step::Make),
        (None, None) => Err(Unfit::Lost("its token has keys of an earlier life")),
    }
}

/// The root of this vault. `make`: from `[make_root]`.
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
            tracing::warn!(path = %file.path.display(), "the root file was gone and is written again");
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
    // Not `development`, which says that the key lies in the clear on a disk: this one never does.
    let root = Root { keys: vec![key.public()], threshold: 1, fleet, era: Era(1), development: false };
    let bytes = root.encode();
    store.put_secret(super::ROW, Kept::row(&key, &bytes)).await?;
    // Only now may anybody see, and pin, the public half.
    file.write(&bytes)?;
    tracing::info!(fleet = %fleet, "made the fleet's root; its private half is sealed in this vault's store");
    Ok(Custody::new(root, bytes, Some(key)))
}

#[cfg(test)]
#[path = "establish_test.rs"]
mod tests;
