//! Reads one generation: its entries, the content of one file, and whether all of it is there and genuine.

use std::collections::HashSet;
use std::io::{Read as _, Write};
use std::ops::ControlFlow;

use bkv_stream::Control;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::format::Id;
use crate::format::manifest::{Content, Manifest};
use crate::format::names::Kind as ObjectKind;
use crate::format::stream::{BlobRef, Lengths};
use crate::format::tree::{Entry, Item, Kind, Pack, Place, TreePath, TreeReader};
use crate::generation::{Generation, read_blob};
use crate::library::{Access, Choice};
use crate::objects::{Copies, Pull, Seen, in_parallel};

/// Blobs that a verification reads at the same time. Each takes the size of an object in memory.
const IN_FLIGHT: usize = 4;

/// What a visitor gets.
#[derive(Debug)]
pub enum Visited<'v> {
    /// A source: its path on the device, and its folder's name in a restore.
    Source {
        /// Path.
        path: &'v [u8],
        /// Name.
        name: &'v [u8],
    },
    /// An entry.
    Entry(&'v TreePath, &'v Entry),
}

/// An opened generation.
#[derive(Debug)]
pub struct Reading<'a> {
    pub(crate) access: Access<'a>,
    pub(crate) choice: Choice<'a>,
    pub(crate) generation: Generation,
    /// The copies of the tree's objects that opened, for the next pass.
    copies: Mutex<Copies>,
}

impl<'a> Reading<'a> {
    /// Opens the manifest.
    pub fn open(access: Access<'a>, choice: Choice<'a>) -> Result<Self> {
        let folder = &choice.history.folder;
        let generation = Generation::open(access.destination, folder, access.key, choice.kept)?;
        Ok(Self { access, choice, generation, copies: Mutex::new(Copies::new()) })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.generation.manifest
    }

    /// Calls `visit` with each item of the tree. It is called again from the beginning if an object has a second copy and the first did not open.
    pub(crate) fn items<T>(
        &self,
        begin: impl Fn() -> T,
        mut visit: impl FnMut(&mut T, Item) -> Result<()>,
    ) -> Result<T> {
        self.need(Content::Tree)?;
        let mut copies = self.copies.lock().clone();
        let stream = self.generation.stream(self.access.destination, &self.choice.history.folder);
        let read = stream.read_with(&mut copies, |pull| {
            let mut tree = TreeReader::new(pull, &self.generation.name());
            let mut value = begin();
            while let Some(mut item) = tree.next()? {
                self.replace(&mut item);
                visit(&mut value, item)?;
            }
            Ok(value)
        });
        *self.copies.lock() = copies;
        read
    }

    /// Takes what the ledger names in the place of a damaged blob, if it has the same content.
    fn replace(&self, item: &mut Item) {
        let blob = match item {
            Item::Pack(pack) => &mut pack.blob,
            Item::Entry(_, Entry { kind: Kind::File { place: Place::Blob(blob), .. }, .. }) => blob,
            _ => return,
        };
        let all = &self.choice.history.ledger.replaced;
        let new = all.iter().find(|replaced| replaced.old == blob.id).map(|replaced| &replaced.blob);
        if let Some(new) =
            new.filter(|new| new.hash == blob.hash && new.lengths.content == blob.lengths.content)
        {
            *blob = new.clone();
        }
    }

    fn need(&self, content: Content) -> Result<()> {
        let is_tree = self.manifest().content == Content::Tree;
        if is_tree == (content == Content::Tree) {
            return Ok(());
        }
        let name = self.generation.name();
        Err(Error::Refused(if is_tree {
            format!("{name} is a folder's; restore it to a folder")
        } else {
            format!("{name} is of bytes and not of a folder; write it to a file or a pipe")
        }))
    }

    /// Lists the entries in the order of the tree. The whole tree is proved only when this returns.
    pub fn list(&self, mut visit: impl FnMut(Visited<'_>)) -> Result<()> {
        self.items(
            || (),
            |(), item| {
                match &item {
                    Item::Root(root) => visit(Visited::Source { path: &root.path, name: &root.name }),
                    Item::Entry(path, entry) => visit(Visited::Entry(path, entry)),
                    Item::Pack(_) => {}
                }
                Ok(())
            },
        )
    }

    pub(crate) fn blob<T>(
        &self,
        blob: &BlobRef,
        consume: impl FnMut(&mut Pull<'_>) -> Result<T>,
    ) -> Result<T> {
        read_blob(self.access.destination, &self.choice.history.folder, blob, consume)
    }

    /// Writes the bytes of an app or a pipe. Each is authenticated. The end is proved only when this returns `Ok`.
    pub fn write_bytes(&self, sink: &mut dyn Write, control: Control<'_>) -> Result<u64> {
        self.need(Content::Bytes)?;
        let mut written = 0_u64;
        self.generation.stream(self.access.destination, &self.choice.history.folder).read(|pull| {
            // After a second copy is taken, what was written already is genuine and the same.
            skip(pull, written)?;
            copy(pull, sink, control, &mut written)
        })?;
        Ok(written)
    }

    /// Writes the content of one file, given by its source's number and its path below it.
    pub fn write_file(&self, path: &TreePath, sink: &mut dyn Write, control: Control<'_>) -> Result<u64> {
        type Found = (Option<Pack>, Option<(Entry, Option<Pack>)>);
        let (_, found): Found = self.items(
            || (None, None),
            |(pack, found), item| {
                match item {
                    Item::Pack(next) => *pack = Some(next),
                    Item::Entry(at, entry) if at == *path => *found = Some((entry, pack.clone())),
                    _ => {}
                }
                Ok(())
            },
        )?;
        let name = String::from_utf8_lossy(&path.joined()).into_owned();
        let Some((entry, pack)) = found else {
            return Err(Error::NoSuchGeneration(format!("{} has no '{name}'", self.generation.name())));
        };
        let Kind::File { data, place, extents, size, .. } = entry.kind else {
            return Err(Error::Refused(format!("'{name}' is no file")));
        };
        if !extents.is_empty() || (data == 0 && size > 0) {
            return Err(Error::Refused(format!("'{name}' is a sparse file; restore it to a folder")));
        }
        let mut written = 0;
        match (place, pack) {
            (Place::Blob(blob), _) => self.blob(&blob, |pull| {
                skip(pull, written)?;
                copy(pull, sink, control, &mut written)
            })?,
            (Place::Pack(offset), Some(pack)) => self.blob(&pack.blob, |pull| {
                skip(pull, u64::from(offset) + written)?;
                copy(&mut pull.by_ref().take(data - written), sink, control, &mut written)
            })?,
            _ => {}
        }
        Ok(written)
    }

    /// Counts the objects that are missing or short, without reading content other than the tree.
    pub fn check_presence(&self) -> Result<()> {
        let (destination, folder) = (self.access.destination, &self.choice.history.folder);
        let seen = Seen::list(destination, folder)?;
        let mut presence = Presence::default();
        let look = |presence: &mut Presence, kind: ObjectKind, id: &Id, lengths: &Lengths| -> Result<()> {
            let Some(layout) = lengths.layout() else { return Ok(()) };
            for index in 0..layout.objects {
                presence.needed += 1;
                let name = folder.name(kind, id, index);
                if !seen.has(destination, folder, name, layout.length(index))? {
                    presence.missing += 1;
                    presence.first.get_or_insert_with(|| folder.path_of(name));
                }
            }
            Ok(())
        };
        look(&mut presence, ObjectKind::Stream, &self.generation.kept.generation, &self.manifest().lengths)?;
        // Without its tree it is not known what else it needs.
        if presence.missing == 0 && self.manifest().content == Content::Tree {
            for blob in self.references(None)? {
                look(&mut presence, ObjectKind::Blob, &blob.id, &blob.lengths)?;
            }
        }
        let Presence { needed, missing, first } = presence;
        match first {
            Some(first) => Err(Error::NotAllHere { missing, needed, first }),
            None => Ok(()),
        }
    }

    /// The blobs and packs that the tree refers to, each once.
    pub(crate) fn references(&self, chosen: Option<&dyn Fn(&Id) -> bool>) -> Result<Vec<BlobRef>> {
        if self.manifest().content != Content::Tree {
            return Ok(Vec::new());
        }
        let begin = || (HashSet::new(), Vec::new());
        let (_, blobs) = self.items(begin, |(ids, blobs), item| {
            let blob = match item {
                Item::Pack(pack) => pack.blob,
                Item::Entry(_, Entry { kind: Kind::File { place: Place::Blob(blob), .. }, .. }) => blob,
                _ => return Ok(()),
            };
            if chosen.is_none_or(|chosen| chosen(&blob.id)) && ids.insert(blob.id) {
                blobs.push(blob);
            }
            Ok(())
        })?;
        Ok(blobs)
    }

    /// Reads and authenticates the generation's stream and its blobs. `chosen` takes a sample of the blobs. Goes on after damage.
    pub fn verify(&self, chosen: Option<&dyn Fn(&Id) -> bool>, control: Control<'_>) -> Result<Verified> {
        let mut verified = Verified::default();
        let folder = &self.choice.history.folder;
        if self.manifest().content != Content::Tree {
            let mut sink = std::io::sink();
            verified.bytes = self.write_bytes(&mut sink, control)?;
            return Ok(verified);
        }
        let blobs = self.references(chosen)?;
        let cancel = control.cancel;
        let read = |blob: &BlobRef| {
            let (mut bytes, control) = (0, Control { progress: &(), cancel });
            self.blob(blob, |pull| copy(pull, &mut std::io::sink(), control, &mut bytes))
        };
        let mut failed = None;
        in_parallel(&blobs, IN_FLIGHT, read, |blob, result| {
            match result {
                Ok(()) => {
                    verified.bytes += blob.lengths.content;
                    verified.proved.push(blob.id);
                }
                Err(error @ Error::Cancelled) => failed = Some(error),
                Err(error) => {
                    verified.broken.push((folder.object(ObjectKind::Blob, &blob.id, 0), error));
                    verified.broken_blobs.push(blob.id);
                }
            }
            verified.blobs += 1;
            control.progress.bytes(verified.bytes, Some(self.manifest().counts.bytes));
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        failed.map_or(Ok(verified), Err)
    }
}

#[derive(Default)]
struct Presence {
    needed: u64,
    missing: u64,
    first: Option<String>,
}

/// The result of [`Reading::verify`].
#[derive(Debug, Default)]
pub struct Verified {
    /// Blobs and packs that were read.
    pub blobs: u64,
    /// Bytes of content that were proved.
    pub bytes: u64,
    /// What did not read: the first object of the blob, and why.
    pub broken: Vec<(String, Error)>,
    /// The id of each of them.
    pub broken_blobs: Vec<Id>,
    /// The blobs that were proved.
    pub proved: Vec<Id>,
}

fn skip(pull: &mut Pull<'_>, bytes: u64) -> Result<()> {
    let skipped =
        std::io::copy(&mut pull.by_ref().take(bytes), &mut std::io::sink()).map_err(Error::from_io)?;
    if skipped == bytes {
        Ok(())
    } else {
        Err(Error::Damaged { object: "a file".into(), what: "its content ends too early" })
    }
}

fn copy(
    source: &mut dyn std::io::Read,
    sink: &mut dyn Write,
    control: Control<'_>,
    written: &mut u64,
) -> Result<()> {
    let mut buffer = zeroize::Zeroizing::new(vec![0; 256 << 10]);
    loop {
        if control.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let n = source.read(&mut buffer).map_err(Error::from_io)?;
        let Some(content) = buffer.get(..n).filter(|content| !content.is_empty()) else { return Ok(()) };
        sink.write_all(content).map_err(Error::Io)?;
        *written += n as u64;
        control.progress.bytes(*written, None);
    }
}
