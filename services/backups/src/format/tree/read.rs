//! Reads a tree. Memory: one record. It checks everything that a later step relies on: names, depths, packs, the end.

use std::io::Read;

use super::super::MAX_RECORD;
use super::path::TreePath;
use super::record::{Entry, Kind, MAX_DEPTH, Pack, Place, Record, Root, is_name};
use crate::error::{Error, Result};

/// The greatest pack in bytes.
const MAX_PACK: u64 = 8 << 20;

/// The next thing in a tree.
#[derive(Debug)]
pub(crate) enum Item {
    Root(Root),
    /// The files in it follow.
    Pack(Pack),
    /// An entry, with its place.
    Entry(TreePath, Entry),
}

/// A tree that is read record by record.
pub(crate) struct TreeReader<R> {
    source: R,
    object: String,
    records: u64,
    roots: u32,
    /// Names of the open folders.
    folders: Vec<Vec<u8>>,
    /// Bytes of the pack that the next files are in.
    pack: u64,
    before: Option<TreePath>,
    ended: bool,
}

impl<R: Read> TreeReader<R> {
    /// `object` names the generation in errors.
    pub(crate) fn new(source: R, object: &str) -> Self {
        let object = object.to_owned();
        Self {
            source,
            object,
            records: 0,
            roots: 0,
            folders: Vec::new(),
            pack: 0,
            before: None,
            ended: false,
        }
    }

    fn bad(&self, what: &'static str) -> Error {
        Error::damaged(&self.object, what)
    }

    /// None after the last record, when the stream has ended too.
    pub(crate) fn next(&mut self) -> Result<Option<Item>> {
        if self.ended {
            return Ok(None);
        }
        let record = self.record()?;
        if let Record::End(end) = &record {
            if end.records != self.records || self.source.read(&mut [0]).map_err(Error::from_io)? != 0 {
                return Err(self.bad("the tree does not end where it was ended"));
            }
            self.ended = true;
            return Ok(None);
        }
        self.records += 1;
        match record {
            Record::Root(root) => self.root(root).map(Some),
            Record::Pack(pack) => self.opened(pack).map(Some),
            Record::Entry(entry) => self.entry(entry).map(Some),
            Record::End(_) => Ok(None),
        }
    }

    fn record(&mut self) -> Result<Record> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_RECORD {
            return Err(self.bad("a record of the tree is too long"));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        let mut decoder = minicbor::Decoder::new(&bytes);
        let record = decoder.decode().map_err(|_| self.bad("a record of the tree does not decode"))?;
        if decoder.position() != length {
            return Err(self.bad("a record of the tree does not decode"));
        }
        Ok(record)
    }

    fn fill(&mut self, space: &mut [u8]) -> Result<()> {
        self.source.read_exact(space).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.bad("the tree ends too early"),
            _ => Error::from_io(error),
        })
    }

    fn root(&mut self, root: Root) -> Result<Item> {
        // Without a name there may be only one source, which is the destination itself.
        let named = !root.name.is_empty();
        if (named && !is_name(&root.name)) || (self.roots > 0 && !named) {
            return Err(self.bad("the name of a source is malformed"));
        }
        self.roots += 1;
        self.folders.clear();
        self.before = None;
        Ok(Item::Root(root))
    }

    fn opened(&mut self, pack: Pack) -> Result<Item> {
        if pack.blob.lengths.content > MAX_PACK || pack.blob.lengths.layout().is_none() {
            return Err(self.bad("a pack is malformed"));
        }
        self.pack = pack.blob.lengths.content;
        Ok(Item::Pack(pack))
    }

    fn entry(&mut self, entry: Entry) -> Result<Item> {
        let root = self.roots.checked_sub(1).ok_or_else(|| self.bad("an entry has no source"))?;
        if let Some(what) = entry.fault() {
            return Err(self.bad(what));
        }
        let depth = usize::try_from(entry.depth).unwrap_or(usize::MAX);
        if entry.depth > MAX_DEPTH || depth > self.folders.len() {
            return Err(self.bad("an entry has no folder"));
        }
        self.folders.truncate(depth);
        let mut steps = self.folders.clone();
        steps.push(entry.name.clone());
        let path = TreePath { root, steps };
        // The order also proves that no name is there twice.
        if self.before.as_ref().is_some_and(|before| *before >= path) {
            return Err(self.bad("entries are out of order"));
        }
        match &entry.kind {
            Kind::Folder => self.folders.push(entry.name.clone()),
            Kind::File { data, place: Place::Pack(offset), .. }
                if u64::from(*offset).checked_add(*data).is_none_or(|end| end > self.pack) =>
            {
                return Err(self.bad("a file is outside its pack"));
            }
            _ => {}
        }
        self.before = Some(path.clone());
        Ok(Item::Entry(path, entry))
    }
}
