//! The manifest: what a generation is. Written last, under the generation's key.

use bkv_stream::BackupKey;
use minicbor::{Decode, Encode};

use super::head::{HEAD, Head, Keys};
use super::secret::Secret;
use super::stream::Lengths;
use super::{Hash, Id, MAX_MANIFEST, sealed, sha256};
use crate::error::{Error, Result};

/// What the stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Content {
    /// The tree of a folder, with references to blobs.
    #[n(0)]
    Tree,
    /// Bytes of an app, or of a command that was run to its end.
    #[n(1)]
    Bytes,
    /// Bytes of a pipe, whose producer may have failed.
    #[n(2)]
    Pipe,
}

/// Counts of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Counts {
    /// Regular files, without further hard links.
    #[n(0)]
    pub files: u64,
    /// Folders.
    #[n(1)]
    pub folders: u64,
    /// Symbolic and hard links.
    #[n(2)]
    pub links: u64,
    /// Bytes of content.
    #[n(3)]
    pub bytes: u64,
    /// Blobs and packs that the tree refers to.
    #[n(4)]
    pub references: u64,
    /// Objects of all references.
    #[n(5)]
    pub objects: u64,
    /// Ciphertext bytes that this generation added to the destination.
    #[n(6)]
    pub new_bytes: u64,
    /// Entries that failed. 0 = complete.
    #[n(7)]
    pub failed: u64,
}

/// A file that is not in the generation as it was, and why.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LeftOut {
    /// Path, as bytes of the source's system.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub path: Vec<u8>,
    /// Reason.
    #[n(1)]
    pub why: Reason,
}

/// Why an entry is missing or may be a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Reason {
    /// It could not be read.
    #[n(0)]
    Unreadable,
    /// It changed while it was read. What was read is kept.
    #[n(1)]
    Changed,
    /// It was gone when it was read.
    #[n(2)]
    Vanished,
    /// A socket, pipe or device. Never backed up.
    #[n(3)]
    Special,
    /// Another file system.
    #[n(4)]
    OtherFileSystem,
    /// Name or attributes exceed a bound of the format.
    #[n(5)]
    TooLong,
    /// The backups' own place, or the state of this device.
    #[n(6)]
    OwnPlace,
}

impl Reason {
    /// True if the generation is incomplete because of it.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Unreadable | Self::Changed | Self::Vanished | Self::TooLong)
    }
}

/// Left-out entries that a manifest lists. [`Counts::failed`] counts all of them.
pub const MAX_LISTED: usize = 1000;

/// What a generation is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// The device.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub writer: Id,
    /// The series.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub series: Id,
    /// Its label.
    #[n(2)]
    pub label: String,
    /// Number within the series, from 1.
    #[n(3)]
    pub number: u64,
    /// SHA-256 of the manifest object of the generation before it.
    #[n(4)]
    pub before: Option<minicbor::bytes::ByteArray<32>>,
    /// When it began, by the writer's clock, in milliseconds since 1970.
    #[n(5)]
    pub begun_ms: i64,
    /// When it ended.
    #[n(6)]
    pub ended_ms: i64,
    /// What the stream holds.
    #[n(7)]
    pub content: Content,
    /// Lengths of the generation's own stream.
    #[n(8)]
    pub lengths: Lengths,
    /// SHA-256 of the stream's content.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub hash: Hash,
    /// Counts.
    #[n(10)]
    pub counts: Counts,
    /// The first left-out entries.
    #[n(11)]
    pub left_out: Vec<LeftOut>,
    /// Name of the machine.
    #[n(12)]
    pub host: String,
    /// Tags.
    #[n(13)]
    pub tags: Vec<String>,
}

impl Manifest {
    /// True if nothing failed.
    pub fn is_complete(&self) -> bool {
        self.counts.failed == 0
    }

    /// The manifest object.
    pub(crate) fn seal(&self, keys: &Keys) -> Result<Vec<u8>> {
        let bytes = minicbor::to_vec(self).map_err(|_| Error::TooMuch("the manifest"))?;
        if bytes.len() > MAX_MANIFEST {
            return Err(Error::TooMuch("the manifest"));
        }
        sealed::seal(&keys.head, &keys.manifest.stream_key(), &keys.aad, &bytes)
    }

    /// Opens a manifest object. `expected` is its hash in the ledger.
    pub(crate) fn open(
        object: &str,
        bytes: &[u8],
        key: &BackupKey,
        seed: Option<&Secret>,
        expected: Option<&Hash>,
    ) -> Result<Opened> {
        let (head, raw) = Head::parse(object, bytes)?;
        let Some(keys) = head.open(&raw, key, seed)? else {
            // The ledger that gave the seed has opened, so the key is right. Without a seed only the key can be wrong.
            return Err(if seed.is_some() {
                Error::damaged(object, "its head does not belong to the seed in the ledger")
            } else {
                Error::WrongKey { object: object.to_owned() }
            });
        };
        let rest = bytes.get(HEAD..).unwrap_or_default();
        let content = sealed::open(object, rest, &keys.manifest.stream_key(), &keys.aad, MAX_MANIFEST)?;
        if expected.is_some_and(|hash| *hash != sha256(bytes)) {
            return Err(Error::damaged(object, "its hash is not the one in the ledger"));
        }
        let manifest = decode(&content).ok_or_else(|| Error::damaged(object, "it does not decode"))?;
        Ok(Opened { head, keys, manifest })
    }
}

/// A manifest with the keys of its generation.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) head: Head,
    pub(crate) keys: Keys,
    pub(crate) manifest: Manifest,
}

/// Decodes all of `bytes`. An authenticated manifest may still come from an attacker who has the key, so its lengths are checked.
pub(crate) fn decode(bytes: &[u8]) -> Option<Manifest> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let manifest: Manifest = decoder.decode().ok()?;
    let agrees = decoder.position() == bytes.len() && manifest.lengths.layout().is_some();
    agrees.then_some(manifest)
}
