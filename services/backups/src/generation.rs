//! A generation whose manifest was opened.

use bkv_stream::{BackupKey, StreamKey};

use crate::destination::Destination;
use crate::error::{Error, Result};
use crate::format::Hash;
use crate::format::ledger::Kept;
use crate::format::manifest::{Manifest, Opened};
use crate::format::names::{Folder, Kind};
use crate::format::stream::{BlobRef, blob_aad};
use crate::objects::{Target, whole};

/// Manifest and stream key of a generation.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) kept: Kept,
    pub(crate) manifest: Manifest,
    key: StreamKey,
    aad: Hash,
}

impl Generation {
    /// Reads the manifest. Of several objects of its name, it takes the one that opens.
    pub(crate) fn open(
        destination: &dyn Destination,
        folder: &Folder,
        key: &BackupKey,
        kept: &Kept,
    ) -> Result<Self> {
        let name = folder.object(Kind::Manifest, &kept.generation, 0);
        let open = |bytes: &[u8]| Manifest::open(&name, bytes, key, kept.seed.as_ref(), Some(&kept.manifest));
        let missing = || Error::NotAllHere { missing: 1, needed: 1, first: name.clone() };
        let first = whole(destination, &name, kept.manifest_bytes, None)?.ok_or_else(missing)?;
        let opened = match open(&first) {
            Ok(opened) => opened,
            Err(error) => {
                let copies =
                    destination.stat(&name).map_err(|fault| Error::at("look at", &name, fault))?.len();
                let others = (1..copies).filter_map(|copy| {
                    whole(destination, &name, kept.manifest_bytes, Some(copy)).ok().flatten()
                });
                others.into_iter().find_map(|bytes| open(&bytes).ok()).ok_or(error)?
            }
        };
        let Opened { head, keys, manifest } = opened;
        let same = (head.generation, manifest.series, manifest.number, manifest.content)
            == (kept.generation, kept.series, kept.number, kept.content);
        if !same {
            return Err(Error::damaged(&name, "it is of another generation than the ledger says"));
        }
        Ok(Self { kept: kept.clone(), manifest, key: keys.stream.stream_key(), aad: keys.aad })
    }

    /// Its own stream.
    pub(crate) fn stream<'a>(&'a self, destination: &'a dyn Destination, folder: &'a Folder) -> Target<'a> {
        Target {
            destination,
            folder,
            kind: Kind::Stream,
            id: self.kept.generation,
            key: &self.key,
            aad: &self.aad,
            lengths: self.manifest.lengths,
            hash: self.manifest.hash,
        }
    }

    /// Names it for people.
    pub(crate) fn name(&self) -> String {
        format!("generation {} of '{}'", self.manifest.number, self.manifest.label)
    }
}

/// Calls `consume` with a blob's content.
pub(crate) fn read_blob<T>(
    destination: &dyn Destination,
    folder: &Folder,
    blob: &BlobRef,
    consume: impl FnMut(&mut crate::objects::Pull<'_>) -> Result<T>,
) -> Result<T> {
    let key = blob.key.stream_key();
    let aad = blob_aad(&blob.id);
    let target = Target {
        destination,
        folder,
        kind: Kind::Blob,
        id: blob.id,
        key: &key,
        aad: &aad,
        lengths: blob.lengths,
        hash: blob.hash,
    };
    target.read(consume)
}
