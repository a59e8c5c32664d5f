//! The public header of a backup file: `"BKVB" ‖ version (1) ‖ length (u32, big endian) ‖ manifest (CBOR)`.
//! It can be read without the key and contains no secret. Its hash is part of the stream's key and associated data, so the stream behind a changed
//! header never decrypts. A reader must not trust any field before the first segment opens.

use std::io::Read;

use aws_lc_rs::digest;
use minicbor::{Decode, Encode};

use crate::{
    decrypt::fill,
    error::{Error, Result},
    segment::{DEFAULT_SEGMENT_U32, Options},
};

pub(crate) const MAGIC: &[u8; 4] = b"BKVB";
/// The version of a backup file. A change of the header, the stream, the archive in it or their keys needs a new one.
pub const VERSION: u8 = 1;
/// Longest manifest in bytes. A reader refuses a longer one before it allocates memory for it.
pub const MAX_MANIFEST: usize = 4096;
/// Number of digits of an identifier in an error text.
const SHOWN: usize = 16;
/// Longest file name in bytes.
pub const MAX_NAME: usize = 1024;

/// What the stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Content {
    /// Any bytes.
    #[n(0)]
    Raw,
    /// A tar archive of a folder.
    #[n(1)]
    Tar,
}

/// How the content was compressed before encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Compression {
    /// Not compressed.
    #[n(0)]
    None,
    /// Zstandard (RFC 8878).
    #[n(1)]
    Zstd,
}

/// The header's manifest. Its fields are numbered, so that a later version can add some.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// The fleet's lineage (docs/protocol.md, Names). Zeros in 64-digit mode.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub lineage: [u8; 32],
    /// Account pseudonym, chosen by the caller.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub account: [u8; 32],
    /// Random id of this series of backups.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub backup: [u8; 16],
    /// Number within the series. It grows with each backup.
    #[n(3)]
    pub sequence: u64,
    /// Name of this file within the backup.
    #[n(4)]
    pub file_name: String,
    /// Number of this file within the backup, from 0.
    #[n(5)]
    pub file_index: u32,
    /// When the backup began by the writer's clock, in milliseconds since 1970 (UTC).
    #[n(6)]
    pub created_ms: u64,
    /// Compression of the content.
    #[n(7)]
    pub compression: Compression,
    /// [`crate::BackupKey::key_check`] for `backup`. The writer sets it.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub key_check: [u8; 16],
    /// What the stream holds.
    #[n(9)]
    pub content: Content,
    /// Ciphertext bytes in each segment.
    #[n(10)]
    pub segment: u32,
}

impl Manifest {
    /// A manifest with the default segment size. [`crate::BackupWriter`] sets the key-check value.
    pub fn new(account: [u8; 32], backup: [u8; 16], sequence: u64, created_ms: u64) -> Self {
        Self {
            lineage: [0; 32],
            account,
            backup,
            sequence,
            file_name: String::new(),
            file_index: 0,
            created_ms,
            compression: Compression::None,
            key_check: [0; 16],
            content: Content::Raw,
            segment: DEFAULT_SEGMENT_U32,
        }
    }

    fn check(&self) -> Result<()> {
        if self.file_name.len() > MAX_NAME {
            return Err(Error::BadHeader("the file name is too long"));
        }
        let segment = usize::try_from(self.segment).unwrap_or(usize::MAX);
        let options = Options { segment, workers: 1 };
        options.check().map_err(|_| Error::BadHeader("the segment size is out of bounds"))?;
        Ok(())
    }
}

/// A manifest together with the bytes that were hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    manifest: Manifest,
    bytes: Vec<u8>,
    hash: [u8; 32],
}

impl Header {
    /// Encodes a manifest.
    pub fn new(manifest: Manifest) -> Result<Self> {
        manifest.check()?;
        let bytes = minicbor::to_vec(&manifest).map_err(|_| Error::BadHeader("it cannot be encoded"))?;
        let hash = sha256(&bytes);
        Ok(Self { manifest, bytes, hash })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 over the manifest's bytes. It is the `hash` of the account's {sequence, hash} and the stream's associated data.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The bytes at the beginning of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        // `MAX_NAME` bounds the length, so it always fits.
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(9 + self.bytes.len());
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }

    /// Reads exactly the header from the beginning of a file.
    pub fn read(source: &mut impl Read) -> Result<Self> {
        let mut magic = [0; 4];
        if fill(source, &mut magic)? < magic.len() || &magic != MAGIC {
            return Err(Error::NotABackup);
        }
        let mut version = [0; 1];
        let mut length = [0; 4];
        if fill(source, &mut version)? < version.len() {
            return Err(Error::Truncated);
        }
        if version != [VERSION] {
            return Err(Error::UnknownVersion(u8::from_be_bytes(version)));
        }
        if fill(source, &mut length)? < length.len() {
            return Err(Error::Truncated);
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_MANIFEST {
            return Err(Error::BadHeader("it is too long"));
        }
        let mut bytes = vec![0; length];
        if fill(source, &mut bytes)? < length {
            return Err(Error::Truncated);
        }
        let mut decoder = minicbor::Decoder::new(&bytes);
        let manifest: Manifest = decoder.decode().map_err(|_| Error::BadHeader("it cannot be decoded"))?;
        if decoder.position() != bytes.len() {
            return Err(Error::BadHeader("bytes follow the manifest"));
        }
        manifest.check()?;
        let hash = sha256(&bytes);
        Ok(Self { manifest, bytes, hash })
    }
}

/// A header that no key has authenticated yet.
pub type Inspected = Header;

/// Reads a header without the key, for display only. It is authenticated only once the stream opens.
pub fn inspect(source: &mut impl Read) -> Result<Inspected> {
    Header::read(source)
}

/// The newest backup according to the account's record or the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its sequence.
    pub sequence: u64,
    /// Hash of its header's manifest.
    pub hash: [u8; 32],
}

/// The values that the header must have (S29). A `None` is not checked: with the key alone, a new device has no `known`.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// Fleet lineage.
    pub lineage: Option<[u8; 32]>,
    /// Account pseudonym.
    pub account: Option<[u8; 32]>,
    /// Backup id.
    pub backup: Option<[u8; 16]>,
    /// Sequence.
    pub sequence: Option<u64>,
    /// File name.
    pub file_name: Option<String>,
    /// File number.
    pub file_index: Option<u32>,
    /// Refuses an older backup, and another one with the same sequence.
    pub known: Option<Known>,
}

impl Expect {
    /// Compares a header with the expectations. The first difference is the error.
    pub fn check(&self, header: &Header) -> Result<()> {
        let m = header.manifest();
        same("lineage", self.lineage.as_ref(), &m.lineage, |v| hex(v))?;
        same("account", self.account.as_ref(), &m.account, |v| hex(v))?;
        same("backup id", self.backup.as_ref(), &m.backup, |v| hex(v))?;
        same("sequence", self.sequence.as_ref(), &m.sequence, u64::to_string)?;
        same("file name", self.file_name.as_ref(), &m.file_name, |v| format!("{v:?}"))?;
        same("file number", self.file_index.as_ref(), &m.file_index, u32::to_string)?;
        match self.known {
            Some(known) if m.sequence < known.sequence => {
                Err(Error::Rollback { found: m.sequence, known: known.sequence })
            }
            Some(known) if m.sequence == known.sequence => {
                same("hash", Some(&known.hash), header.hash(), |v| hex(v))
            }
            _ => Ok(()),
        }
    }
}

fn same<T: PartialEq>(
    field: &'static str,
    expected: Option<&T>,
    found: &T,
    show: impl Fn(&T) -> String,
) -> Result<()> {
    match expected {
        Some(value) if value != found => {
            let (found, expected) =
                (shorten(&show(found), &show(value)), shorten(&show(value), &show(found)));
            Err(Error::ForeignStream { field, found, expected })
        }
        _ => Ok(()),
    }
}

/// Shows the first sixteen digits, which are enough for a person to compare. If the two values agree in them, all digits are shown.
fn shorten(value: &str, other: &str) -> String {
    match (value.get(..SHOWN), other.get(..SHOWN)) {
        (Some(a), Some(b)) if a != b => a.to_owned(),
        _ => value.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
#[path = "header_test.rs"]
mod header_test;
