//! Names of folders, objects and ledgers. An object's name shows nothing but that the object exists.

use bkv_stream::BackupKey;

use super::secret::MacKey;
use super::{Hash, Id, sha256};
use crate::error::Result;

/// Names one account's backups at a destination. Public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag([u8; 10]);

impl Tag {
    /// The tag of an account of a fleet. Known before a try is spent.
    pub fn new(lineage: &[u8; 32], account: &[u8; 32]) -> Self {
        let hash = sha256(&[b"bkv/folder/1", &lineage[..], &account[..]].concat());
        let mut tag = [0; 10];
        tag.copy_from_slice(hash.split_at(10).0);
        Self(tag)
    }

    /// The account's folder at the destination, without a slash.
    pub fn folder(&self) -> String {
        format!("{}{}", Self::PREFIX, hex::encode(self.0))
    }

    /// How all accounts' folders begin.
    pub const PREFIX: &str = "bkv-";
}

/// What an object is. Part of its name's input, so that no two objects share a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Part of a generation's stream.
    Stream = 1,
    /// A generation's manifest.
    Manifest = 2,
    /// Part of a blob.
    Blob = 3,
}

/// Names the objects of one writer.
#[derive(Debug)]
pub struct Folder {
    writer: Id,
    path: String,
    key: MacKey,
}

/// Length of an object's name below the writer's folder: two digits, slash, 32 digits.
const OBJECT_NAME: usize = 2 + 1 + 32;

impl Folder {
    /// The folder of a writer.
    pub fn new(tag: &Tag, writer: &Id, key: &BackupKey) -> Result<Self> {
        let path = format!("{}/{}", tag.folder(), hex::encode(writer));
        Ok(Self { writer: *writer, path, key: MacKey::derive(key, b"bkv/names/1", writer)? })
    }

    /// The names in a backup in one file, with the generation's id for the writer. `name` names the file in errors.
    pub(crate) fn of_file(name: &str, generation: &Id, key: &BackupKey) -> Result<Self> {
        Ok(Self {
            writer: *generation,
            path: name.into(),
            key: MacKey::derive(key, b"bkv/names/1", generation)?,
        })
    }

    /// The writer.
    pub fn writer(&self) -> &Id {
        &self.writer
    }

    /// The folder, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn object(&self, kind: Kind, id: &Id, index: u32) -> String {
        self.path_of(self.name(kind, id, index))
    }

    /// The object's name as a number, which takes less memory than its text.
    pub(crate) fn name(&self, kind: Kind, id: &Id, index: u32) -> u128 {
        let mac = self.key.mac(&[&[kind as u8], id, &index.to_be_bytes()]);
        mac.first_chunk::<16>().map_or(0, |name| u128::from_be_bytes(*name))
    }

    pub(crate) fn path_of(&self, name: u128) -> String {
        let name = format!("{name:032x}");
        format!("{}/{}/{name}", self.path, name.get(..2).unwrap_or_default())
    }

    /// The number of an object's name. None for everything that is not an object of this folder.
    pub(crate) fn parse(&self, path: &str) -> Option<u128> {
        let rest = path.strip_prefix(&self.path)?.strip_prefix('/')?;
        let (folder, name) = rest.split_once('/')?;
        let is_ours = rest.len() == OBJECT_NAME && name.starts_with(folder) && is_hex(name);
        is_ours.then(|| u128::from_str_radix(name, 16).ok()).flatten()
    }

    /// The folder of the ledgers.
    pub(crate) fn ledgers(&self) -> String {
        format!("{}/ledgers", self.path)
    }

    pub(crate) fn ledger(&self, counter: u64, hash: &Hash, copy: u8) -> String {
        format!("{}/ledgers/{counter:016x}-{}-{copy}", self.path, hex::encode(hash))
    }

    /// Counter and hash in a ledger's name. None for another name.
    pub(crate) fn parse_ledger(&self, path: &str) -> Option<(u64, Hash)> {
        let name = path.strip_prefix(&self.path)?.strip_prefix("/ledgers/")?;
        let (counter, rest) = name.split_once('-')?;
        let (hash, copy) = rest.split_once('-')?;
        if counter.len() != 16 || !is_hex(counter) || !is_hex(hash) || !matches!(copy, "1" | "2") {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        Some((u64::from_str_radix(counter, 16).ok()?, bytes))
    }
}

/// Copies of a ledger at the destination.
pub(crate) const LEDGER_COPIES: [u8; 2] = [1, 2];

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The writer in the name of a folder. None for another name.
pub(crate) fn parse_writer(name: &str) -> Option<Id> {
    let mut id = [0; 16];
    (name.len() == 32 && is_hex(name)).then(|| hex::decode_to_slice(name, &mut id).ok()).flatten()?;
    Some(id)
}
